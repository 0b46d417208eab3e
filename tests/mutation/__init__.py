"""Mutation testing of the engine: change the code mechanically, and count the changes that the tests detect."""
