"""The network, its evaluation form and its file; train and evaluate depend on it."""
