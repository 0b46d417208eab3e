"""The rules and data of containers. Imports nothing of the project."""
