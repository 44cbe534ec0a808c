"""Map picture files to class probabilities, for `cifar10 classify`; no stage depends on this folder."""
