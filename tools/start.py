"""Start a tool and report its errors."""

import argparse
import sys
from collections.abc import Callable
from signal import SIGTERM, signal

from cifar10.core.errors import UserError


def argument_parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser whose --help prints the description, the docstring of a tool, as it is."""
    return argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)


def run_tool(name: str, main: Callable[[], None]) -> None:
    """Call `main`. Print a UserError without a traceback, one line per fault, and end without one at Ctrl-C."""
    signal(SIGTERM, lambda number, _: sys.exit(128 + number))  # so that temporary folders are removed
    try:
        main()
    except UserError as error:
        for line in str(error).splitlines():
            print(f"error: {name}: {line}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
