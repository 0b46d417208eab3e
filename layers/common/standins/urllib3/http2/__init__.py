"""Stands in for the switch to HTTP/2, which AWS's clients do not use. It would read the metadata of all packages."""
