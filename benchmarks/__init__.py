"""make bench: how fast the pipeline is."""

import stages  # noqa: F401 # puts the library beside this folder on the path
