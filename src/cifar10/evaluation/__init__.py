"""What is measured on the test split; evaluate depends on it."""
