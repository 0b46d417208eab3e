"""Mutation testing of the engine: change its code mechanically, and count how many changes the tests notice."""
