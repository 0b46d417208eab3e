"""Administration of a stack: `python -m admin`, with the operator's own AWS credentials."""
