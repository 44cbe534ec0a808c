"""Experiments side by side: runs (read) -> comparable (refuse) -> settings (means) -> table, plot."""
