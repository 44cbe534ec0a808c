"""How every stage starts and fails."""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from cifar10.errors import ParamsError, UserError
from cifar10.params import Params, parse_params
from stages.lifetime import alone, stop_signals


def run(stage: Callable[[Params], None]) -> None:
    """Call `stage` with the validated parameters; a UserError becomes one line for each fault, and no traceback."""
    for number in stop_signals():
        signal.signal(number, lambda number, _: sys.exit(128 + number))  # the shell's codes: 143, 130, 129
    try:
        params = parse_params(_params_file())
        with alone(Path(".dvc/tmp/stage.lock")):
            stage(params)
    except UserError as error:
        try:
            for line in str(error).splitlines():
                print(f"error: {line}", file=sys.stderr)
        except OSError:  # the terminal is lost; flushing at exit would fail as well
            sys.stdout = sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115 # until the end
        sys.exit(error.exit_code)


def _params_file() -> bytes:
    try:
        return Path("params.yaml").read_bytes()
    except OSError as error:
        raise ParamsError(f"params.yaml: {error.strerror}; restore it with: git restore params.yaml") from None
