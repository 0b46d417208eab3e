"""Creates the clients and use cases of each kind of function."""
