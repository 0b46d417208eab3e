"""Deterministic simulation: the real code, several concurrent actors, an emulated AWS, a virtual clock, and faults.

A seed determines the whole run. The modules:

    scheduler         runs actors in turns, with a switch at every AWS call, on a virtual clock
    dynamodb          in-memory tables; `expressions` parses DynamoDB expressions
    hostility         the settings of the simulated AWS, and the hostile behaviours that are counted
    hostile_ecs       ECS with the delays, inconsistencies and quotas that its documentation allows
    services          the services of ECS; `hostile_services` has the behaviours that its documentation allows
    commands          when and how often the script of a command runs
    delivery          late, duplicate, early and lost events
    faults            which AWS calls fail, and how
    aws               boto3 clients that send requests to the emulators instead of the network
    wiring            the current library; `versions` switches to or from version 0.2 in some runs
    cloud, world      the AWS, the actors and the trace of a run
    setup             the containers, tasks and hosts at the start of a run
    workload          the requests of callers; `misfortunes` are failures in the cluster
    service_setup     the services at the start of a run; `service_checks` verifies what happens to them
    outsiders         somebody else who changes services, scaling policies, and callers who change counts
    changes           callers that limit the running time of containers; `lifetime_checks` verifies the effects
    run               a single run: a phase with faults, a phase without faults, then the checks
    ledger            records every write and effect; `effects`, `answers`, `history_checks` and `checks` verify them
    mutants           removes the guards of the engine one at a time; the simulation has to detect each removal.
                      `lifetime_mutants` and `service_mutants` have some of them
"""
