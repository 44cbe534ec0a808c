"""Measure how fast the pipeline is, for `make bench`."""

import stages  # noqa: F401 # puts the library beside this folder on the path
