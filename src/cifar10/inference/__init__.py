"""From images to logits and their score, on this machine; train and evaluate depend on it."""
