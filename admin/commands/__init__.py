"""The commands, by subject. `admin.cli` assembles them."""
