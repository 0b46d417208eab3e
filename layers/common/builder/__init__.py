"""Builds the layer; not a part of it."""
