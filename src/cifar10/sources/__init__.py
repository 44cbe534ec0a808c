"""Fetch and read the datasets, for the stage download."""
