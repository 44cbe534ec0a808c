"""The network, its evaluation form and its file; train, evaluate and export depend on it."""
