"""The processor or GPU: precision, threads, cores; train and evaluate depend on it."""
