"""Train a network. The stage train depends on this folder."""
