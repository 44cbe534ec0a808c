"""Sheets of pictures, in one style; train and evaluate depend on it."""
