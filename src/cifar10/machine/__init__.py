"""Set up the processor or GPU, its precision, threads and cores, for the stages train and evaluate."""
