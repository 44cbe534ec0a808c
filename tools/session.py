"""Run a command so that nothing of it is left when the one who waits for it stops, or dies.

The command gets a session of its own, as DVC does not pass on the signal that ends it: its stages would keep running.
As a script, `python session.py COMMAND ...`, it ends the command when its standard input closes, which the system does
also where the process at the other end was killed. It imports nothing but the standard library, so that a machine of a
cluster can run it before anything is installed there.
"""

import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from signal import SIGHUP, SIGINT, SIGKILL, SIGTERM, signal


def run_session(command: Sequence[str], stopped: Callable[[], object], cwd: Path | None = None) -> int:
    """Return the command's exit code. End its whole session first if `stopped` becomes true or a signal raises."""
    process = subprocess.Popen(command, cwd=cwd, stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        while process.poll() is None and not stopped():
            time.sleep(0.1)
    finally:
        end(process)
    return process.wait()


def end(process: "subprocess.Popen[bytes]") -> None:
    """End the session of `process`, with all that it has started, and wait, as until then they write files."""
    for number, seconds in ((SIGTERM, 10), (SIGKILL, 1)):
        with suppress(ProcessLookupError, PermissionError):  # none is left; on macOS: only zombies
            os.killpg(process.pid, number)
            for _ in range(20 * seconds):
                process.poll()
                os.killpg(process.pid, 0)
                time.sleep(0.05)


def main() -> None:
    for number in (SIGHUP, SIGINT, SIGTERM):  # only the end of standard input counts
        signal(number, lambda *_: None)
    # A child of ours waits, as a Ray worker that ends kills its own children, which could then end nothing any more.
    if child := os.fork():
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) % 256)
    os.setsid()
    # Nothing is ever written to standard input: it becomes readable when it closes.
    sys.exit(run_session(sys.argv[1:], lambda: select.select([sys.stdin], [], [], 0)[0]) % 256)


if __name__ == "__main__":
    main()
