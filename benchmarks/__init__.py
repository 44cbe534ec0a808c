"""Measure how fast the pipeline is, for `make bench`."""

import tools  # noqa: F401 # puts the library on the path, and ends at Ctrl-C without a traceback
