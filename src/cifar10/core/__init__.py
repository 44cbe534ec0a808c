"""What every stage uses: parameters, errors, the form of the data, files."""

SIDE = 32  # pixels, of every image; a square of three channels
