"""Measure the network on the test split, for the stage evaluate."""
