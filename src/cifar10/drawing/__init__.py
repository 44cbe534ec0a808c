"""Draw sheets of pictures in one style, for the stage draw."""
