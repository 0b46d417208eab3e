"""Stands in for what writes the documentation of clients, which takes a tenth of their start and which nobody reads."""
