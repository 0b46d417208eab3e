"""Administration commands for a stack (`python -m admin`). They use the operator's own AWS credentials."""
