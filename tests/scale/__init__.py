"""The real engine under load: thousands of containers on a virtual clock, with the quotas of ECS.

The simulation looks for violations with few containers and many faults. Here there are no faults, but many containers,
the default quotas of ECS, and the limits of Lambda functions. `python -m scale` prints the figures of the benchmark
*throughput*; the tests of this folder check the bounds of sweeps and scheduled stops.
"""
