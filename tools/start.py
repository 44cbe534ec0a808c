"""Start a tool and report its errors."""

import argparse
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable
from signal import SIG_DFL, SIG_IGN, SIGHUP, SIGINT, SIGPIPE, SIGTERM, default_int_handler, getsignal, signal

from cifar10.core.errors import UserError


def argument_parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser whose --help prints the description, the docstring of a tool, as it is."""
    return argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)


def run_tool(name: str, main: Callable[[], None]) -> None:
    """Call `main`. Print a UserError without a traceback, one line per fault, and end without one at Ctrl-C.

    So are errors of the disk and of programs that were called, such as a full disk, or no git.
    """
    for number in (SIGTERM, SIGHUP):
        if getsignal(number) is not SIG_IGN:  # as under nohup
            signal(number, lambda number, _: sys.exit(128 + number))  # so that temporary folders are removed
    if getsignal(SIGINT) is SIG_DFL:  # as tools/__init__.py sets it for the imports
        signal(SIGINT, default_int_handler)
    try:
        main()
        if sys.stdout:  # none where its descriptor is closed
            sys.stdout.flush()
    except BrokenPipeError:  # as with `| head`
        sys.exit(128 + SIGPIPE)
    except (OSError, subprocess.CalledProcessError, tarfile.TarError) as error:
        sys.exit(f"error: {name}: {' '.join(str(error).split())}")
    except UserError as error:
        for line in str(error).splitlines():
            print(f"error: {name}: {line}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        try:
            if sys.stdout:
                sys.stdout.flush()
        except OSError:  # said above; Python would say it again at its end
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
