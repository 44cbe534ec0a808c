"""Define the network, its evaluation form and its file, for the stages train, evaluate, draw and export."""
