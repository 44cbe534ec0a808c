"""Where the data come from; download depends on it."""
