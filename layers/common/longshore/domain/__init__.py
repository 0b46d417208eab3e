"""The rules and data of containers. Imports no other package of the library."""
