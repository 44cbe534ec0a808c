"""Run the command `cifar10`, also called `python -m cifar10`."""

import argparse
import os
import signal
import sys
from pathlib import Path

from cifar10.core.environment import isolate
from cifar10.pictures import HOW, MOST_MEMORY, MOST_SECONDS

DESCRIPTION = f"""\
Print the most probable classes of each picture.

The network gets {HOW}; of an animation the first
frame. Colour profiles and a PNG's gAMA chunk are ignored. A picture may take {MOST_MEMORY // 10**6} MB of memory and
{MOST_SECONDS} seconds of CPU time. One that cannot be read is named on standard error with the reason, the others
continue, and the exit code is 1. The released network knows ten classes, and finds one of them in every picture."""


def main() -> None:
    # Ctrl-C, and a reader that ends (`| head`), end this process without a traceback, also during the imports below.
    for number in (signal.SIGINT, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)
    if sys.stderr is None:  # closed; print would write errors among the results
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
    parser = argparse.ArgumentParser(prog="cifar10")
    command = parser.add_subparsers(required=True, metavar="classify").add_parser(
        "classify", help="what is in a picture", description=DESCRIPTION, formatter_class=argparse.RawTextHelpFormatter
    )
    command.add_argument("pictures", nargs="+", metavar="PICTURE", help="a file, a folder, or - for standard input")
    command.add_argument("--model", metavar="FILE", help="a network: models/model.onnx; otherwise the release's")
    command.add_argument("--top", type=_positive, metavar="K", help="how many classes to print (3, or all if fewer)")
    command.add_argument("--json", action="store_true", help="one line of JSON for each picture")
    arguments = parser.parse_args()

    isolate()
    from cifar10.core.errors import UserError
    from cifar10.pictures.reader import Reader  # takes a fifth of a second, which --help need not wait for

    try:
        with Reader() as reader:  # its process starts while this one loads ONNX Runtime
            from cifar10.classify.lines import print_lines

            code = print_lines(reader, arguments.pictures, arguments.model, arguments.top, arguments.json)
        print(end="", flush=True)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        code = error.exit_code
    except OSError as error:  # the disk is full, or the terminal is lost
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 # stays open, because flushing at exit would fail as well
        print(f"error: standard output: cannot be written: {error.strerror}", file=sys.stderr)
        code = 1
    sys.exit(code)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 (got {text})")
    return int(text)


if __name__ == "__main__":
    main()
