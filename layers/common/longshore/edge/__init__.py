"""HTTP, Lambda events, tokens, logs and metrics: the only code that knows HTTP and Lambda."""
