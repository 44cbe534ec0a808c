"""Run experiments at once: __main__ (what was asked) -> plan, refs -> hub (Ray) -> node -> task, on each machine."""
