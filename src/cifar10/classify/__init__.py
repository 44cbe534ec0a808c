"""`cifar10 classify`: pictures as people have them, to class probabilities; no stage depends on it."""
