"""How fast Longshore is, beside what a user would pick instead, and what a call costs: docs/performance.md."""
