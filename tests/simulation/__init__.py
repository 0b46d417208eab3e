"""A deterministic simulation: real code, several actors, an emulated AWS, a virtual clock, faults, and a seed.

scheduler   actors that take turns at every AWS call, on a virtual clock
dynamodb    the tables, in memory
faults      which call fails, and how
aws         boto3 clients that end in the emulators instead of the network
world       one run's AWS, its actors and what is recorded of them
workload    what callers ask for and what goes wrong in the cluster
run         one run: chaos, then calm, then the checks
checks      what must always hold
mutants     faults put into the code on purpose, each of which a simulation must find
"""
