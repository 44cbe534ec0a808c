"""Set up the processor or GPU for the stages train and evaluate; count the cores, also for download."""
