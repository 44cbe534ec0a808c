"""Hold what every stage uses: parameters, errors, the form of the data, files."""

SIDE = 32  # pixels; every image is a square of three channels
# The third number of a seed, one for each use. None is 0, because [a, b] and [a, b, 0] give the same stream.
ORDER, DROPOUT, SAMPLES, AVERAGE, FLIPS, FIRST_STEP = 1, 2, 3, 4, 5, 6


def duration(seconds: float) -> str:
    """Return a time as people say it: 45 s, or 12 min."""
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
