"""Decode pictures, in a process that `reader` starts. Its limits hold for C code as well."""

import ctypes
import errno
import resource
import signal
import socket
import sys
from pathlib import Path

from PIL import Image

from cifar10.core.errors import UserError
from cifar10.pictures import MOST_MEMORY, MOST_SECONDS, TOO_LARGE
from cifar10.pictures.picture import read_picture


def serve() -> None:
    """Answer each open file that comes through standard input, until its end.

    The answer is a line that says why the picture cannot be read, or an empty line and the pixels.
    """
    for each in (signal.SIGINT, signal.SIGPROF):
        signal.signal(each, signal.SIG_DFL)
    number = _error_number()
    Image.preinit()  # loads the usual formats while the other process loads the network
    with socket.socket(fileno=0) as parent:
        while files := socket.recv_fds(parent, 1, 1)[1]:
            _limit_memory()
            signal.setitimer(signal.ITIMER_PROF, MOST_SECONDS)  # SIGPROF ends this process
            reason, pixels = "", b""
            number.value = 0
            with open(files[0], "rb") as file:  # noqa: PTH123 # a file descriptor
                try:
                    pixels = read_picture(file).tobytes()
                except MemoryError:
                    reason = TOO_LARGE
                except UserError as error:  # without memory, C code often reports damage
                    reason = TOO_LARGE if number.value == errno.ENOMEM else str(error)
            parent.sendall(reason.encode() + b"\n" + pixels)


def _limit_memory() -> None:
    """Limit resident memory to MOST_MEMORY on Linux, whose limit counts mapped memory. On macOS, `reader` watches."""
    if sys.platform == "linux":
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()
        mapped, resident = (int(number) * resource.getpagesize() for number in pages[:2])
        most, (_, hard) = mapped - resident + MOST_MEMORY, resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def _error_number() -> ctypes.c_int:
    """Return C's errno, where a failed malloc leaves ENOMEM."""
    library = ctypes.CDLL(None)
    place = library.__errno_location if sys.platform == "linux" else library.__error
    place.restype = ctypes.POINTER(ctypes.c_int)
    number: ctypes.c_int = place().contents
    return number
