"""Compare experiments: runs (read) -> comparable (refuse) -> settings (means) -> table, plot."""
