"""Hold what every stage shares: how it starts, stops, reads and writes."""
