"""Bounded exhaustive exploration: two actors on one container, in every order of their calls to AWS.

search      depth-first search over sequences of choices, with a budget and pruning
faults      the faults that are tried at a call
turns       the scheduler: which player goes on, and with which fault
world       the simulation's world, with chosen faults and interleavings
evidence    checks beyond the simulation's
digest      the digest of a world's state
scenarios   the statuses, the actors and their pairs
run         one run
explore     one scenario within one budget
plan        the order of the work, what CI runs, and the comparison
report      progress and tables

A run executes the real code of both actors on the simulation's emulators. Every AWS call is a choice point: which actor
goes on, and whether the call meets a fault. To switch away from an actor that could go on is a preemption; preemptions
and faults are limited (P and F). When an actor waits, the other goes on for free. Calls take no time; when both wait,
the clock jumps. For one preemption an actor can also be made to stall until the other one's wait is over, or until the
next change in ECS or on a host; an actor that has not made its first call stalls for free. When both have ended, the
events are delivered and the sweeps run until nothing changes, without faults, and all is checked. Everything that the
search leaves out is listed here, with the reason why nothing is lost:

Equal states. A state is the tables, ECS, Systems Manager, the events not yet delivered, the clock, what the checks
have noted, the player that went on last, and of each player the sequence of its calls, answers and times. The code is
deterministic and reads nothing else: the clock stands still between calls, and the ids and random numbers that a
player draws depend on its name and on how many it has drawn. So the sequence determines its local variables, and equal
states have equal futures, apart from ids that AWS's own changes (not the players) draw. A state is expanded again only
when more preemptions or more faults are left than before. The calm after both players have ended depends on the state
alone, and is run once for each.

Waiting players. No switch is offered to a player that has ended. When the player that went on last waits, the other one
goes on without a choice: until the time has passed, nothing else can happen.

Crashes. A crash is offered after calls with an effect and before a player's first call. A player that crashes anywhere
else has had no effect since the last such place, and could as well have crashed there: the tables, ECS and the answers
of the other player are the same but for their times. The other player needs no more preemptions, since switching away
from a crashed player is free, and what it would have waited for, it can stall for at the same price.

Errors of DynamoDB. The store raises the same StoreError for every error that is not about a condition, so that one
error stands for refusals and throttling as well.

Twins. When both players do the same, or one repeats the other's request, only runs that the first one begins are
explored: the others differ in names.

Consistency. ECS may answer that something does not exist although it does, but not in two answers that are 30 seconds
or more apart: the protocol takes that for the truth.

What is outside of the bounds: more than two actors at a time, more than one container, other launch types than EC2,
events that are lost for good, and calls that overlap in time with a change in the cluster (calls take no time).
"""
