"""Bounded exhaustive exploration: two or three actors on one container, in every order of their calls to AWS.

    search      depth-first search over sequences of choices, with a budget and pruning
    faults      the faults tried at each call
    turns       the scheduler, which runs the chosen player with the chosen fault
    world       the simulation's world with chosen faults and interleavings
    evidence    checks in addition to the simulation's
    digest      the digest of a world's state
    starts      the start states
    scenarios   the actors, and their pairs and triples
    setup       the preparation of a start state
    run         a single run
    outside     the service of a run, and what others change of it
    explore     exploration of a scenario within a budget
    plan        the order of the scenarios, the part that CI runs, and the comparison without pruning
    report      progress and tables

A run executes the real code of all actors on the simulation's emulators. Every AWS call is a choice point: which actor
continues, and whether the call has a fault. Switching away from an actor that could continue is a preemption. The
numbers of preemptions (P) and faults (F) are limited. When an actor waits, the other continues for free. Calls take no
time; when both wait, the clock advances. For one preemption, an actor can also stall until the wait of the other is
over, or until the next change in ECS or on a host; an actor that has not made its first call stalls for free. After
all have ended, the events are delivered, the sweeps run without faults until nothing changes, and all checks are made.

The search omits the following, each for the given reason:

Equal states. A state consists of the tables, ECS, Systems Manager, the undelivered events, the clock, the records of
the checks, the player that ran last, and for each player the sequence of its calls, answers and times. The code is
deterministic and reads nothing else: the clock stands still between calls, and the ids and random numbers that a player
draws depend only on its name and on how many it has drawn. So the sequence determines its local variables, and equal
states have equal futures, apart from ids that AWS's own changes (not the players) draw. A state is expanded again only
with more preemptions or more faults left than before. The final phase after both players have ended depends on the
state alone, and runs once per state.

Waiting players. No switch is offered to a player that has ended. When the player that ran last waits, the other
continues without a choice: until the time has passed, nothing else can happen.

Crashes. A crash is offered after calls with an effect and before a player's first call. A player that crashes anywhere
else has had no effect since the last such place, and could as well have crashed there: the tables, ECS and the answers
of the other player are the same except for their times. The other player needs no more preemptions, because switching
away from a crashed player is free, and instead of waiting it can stall at the same price.

Errors of DynamoDB. The store raises the same StoreError for every error that is not a failed condition, so a single
error also represents refusals and throttling.

Symmetric pairs. If both players do the same, or the second repeats the first one's request, only runs that the first
player starts are explored; the others differ only in names.

Consistency. ECS may answer that something does not exist although it does, but not in two answers that are 30 seconds
or more apart: the protocol treats those as true.

Services. A player that is about to change a service is not stalled: it decides and calls at once, and ECS processes the
call at the latest when the client's timeout is over (the fault "lost reply, and processed later"). DescribeServices may
show an older state, for a shorter time than an operation waits after the calls of the previous one.

Out of bounds: more than three concurrent actors, triples that are not listed, more than one container, launch types
other than EC2, events that are lost permanently, and calls that overlap in time with a change in the cluster (calls
take no time).
"""
