"""What a person runs beside the pipeline: make train, same, verify, release, report, compare."""

import stages  # noqa: F401 # puts the library beside this folder on the path
