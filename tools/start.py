"""How a tool starts, and how it reports errors."""

import sys
from collections.abc import Callable
from signal import SIGTERM, signal

from cifar10.core.errors import UserError


def run_tool(name: str, main: Callable[[], None]) -> None:
    """Call `main`; a UserError is printed, one line per fault, without a traceback, and Ctrl-C ends without one."""
    signal(SIGTERM, lambda number, _: sys.exit(128 + number))  # so that temporary folders are removed
    try:
        main()
    except UserError as error:
        for line in str(error).splitlines():
            print(f"error: {name}: {line}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
