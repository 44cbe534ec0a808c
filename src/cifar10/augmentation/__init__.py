"""Augment the training images, for the stages train and draw."""
