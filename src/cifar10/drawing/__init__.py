"""Sheets of pictures, in one style; draw depends on it."""
