"""Serve a person beside the pipeline: make train, sweep, compare, report, verify, same, release."""

import sys
from signal import SIG_DFL, SIGINT, default_int_handler, getsignal, signal

# With `python -m tools.X`, Ctrl-C ends the imports without a traceback; run_tool handles it later.
if sys.argv[0] == "-m" and getsignal(SIGINT) is default_int_handler:
    signal(SIGINT, SIG_DFL)

import stages  # noqa: F401 # puts the library beside this folder on the path
