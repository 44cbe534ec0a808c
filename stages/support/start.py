"""Start a stage, and report its errors."""

import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from cifar10.core.errors import ParamsError, UserError
from cifar10.core.lock import hold
from cifar10.core.params import Params
from cifar10.core.params_file import parse_params
from stages.support.stop import stop_signals


def run_stage(stage: Callable[[Params], None]) -> None:
    """Call `stage` with the validated parameters. Print a UserError without a traceback, one line per fault; exit."""
    came = list[int]()  # signals

    def end(number: int, _: FrameType | None) -> None:
        if came:  # the exit has begun; another one inside it would print a traceback
            os._exit(128 + number)
        came.append(number)
        sys.exit(128 + number)  # the shell's codes: 143, 130, 129

    for number in stop_signals():
        signal.signal(number, end)
    try:
        params = parse_params(_params_file())
        with hold(Path(".dvc/tmp/stage.lock"), "a stage of this workspace"):
            stage(params)
    except Exception as error:
        if came:  # a library, such as matplotlib, has turned the exit into an error of its own
            sys.exit(128 + came[0])
        if short_of_memory(error):
            error = UserError("there is too little memory, of the GPU or of the machine; end other programs")
        if not isinstance(error, UserError):
            raise
        try:
            for line in str(error).splitlines():
                print(f"error: {line}", file=sys.stderr)
        except OSError:  # the terminal is lost; flushing at exit would fail as well
            sys.stdout = sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 # until the end
        sys.exit(error.exit_code)


def short_of_memory(error: Exception) -> bool:
    """Return whether memory is lacking. PyTorch has no class for that of a CPU."""
    return isinstance(error, MemoryError) or bool(re.search("out of memory|can't allocate memory", str(error)))


def _params_file() -> bytes:
    try:
        return Path("params.yaml").read_bytes()
    except OSError as error:
        raise ParamsError(f"params.yaml: {error.strerror}; restore it with: git restore params.yaml") from None
