"""The augmentation of the training images; train and draw depend on it."""
