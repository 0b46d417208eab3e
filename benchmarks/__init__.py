"""Benchmarks: speed compared with alternatives, and the cost of a call. The results are in docs/performance.md."""
