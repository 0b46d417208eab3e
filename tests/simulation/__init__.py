"""A deterministic simulation: real code, several actors, an emulated AWS, a virtual clock, faults, and a seed.

scheduler       actors that take turns at every AWS call, on a virtual clock
dynamodb        the tables, in memory; expressions parses their expressions
hostility       how hostile AWS is in a run, and what is counted when it reaches the code
hostile_ecs     ECS as inconsistent and as scarce as its documentation allows
commands        when and how often a command's script runs
delivery        late, repeated, early and lost events
faults          which call fails, and how
aws             boto3 clients that end in the emulators instead of the network
wiring          the library of the present version, and versions switches to version 0.1 in some runs
cloud, world    one run's AWS, its actors, and its record
setup           what is there when a run begins
workload        what callers ask for; misfortunes is what goes wrong in the cluster
run             one run: chaos, then calm, then the checks
ledger          follows every write and effect; effects, answers, history_checks and checks say what must hold
mutants         guards of the engine taken out one by one; the simulation has to find each
"""
