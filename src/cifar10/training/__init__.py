"""From training images to a trained network; train depends on it."""
