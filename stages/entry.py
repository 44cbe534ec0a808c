"""How every stage starts and fails."""

import sys
from collections.abc import Callable

from cifar10.errors import UserError
from cifar10.params import Params, parse_params
from stages.files import read_text


def run(stage: Callable[[Params], None]) -> None:
    """Call `stage` with the validated parameters; a UserError becomes one line for each fault, and no traceback."""
    try:
        stage(parse_params(read_text("params.yaml")))
    except UserError as error:
        for line in str(error).splitlines():
            print(f"error: {line}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)  # the shell's code for Ctrl-C
