"""Serve a person beside the pipeline: make train, sweep, compare, report, verify, same, release."""

import stages  # noqa: F401 # puts the library beside this folder on the path
