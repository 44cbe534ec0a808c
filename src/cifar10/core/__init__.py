"""Hold what every stage uses: parameters, errors, the form of the data, files."""

SIDE = 32  # pixels; every image is a square of three channels
