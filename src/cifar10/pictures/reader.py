"""Open pictures, and have them decoded in another process (`decoder`), which may be killed and started again."""

import os
import select
import signal
import socket
import stat
import struct
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from cifar10.core import SIDE
from cifar10.core.errors import UserError
from cifar10.pictures import MOST_MEMORY, TOO_LARGE, TOO_SLOW

MOST_BYTES = 256_000_000  # of a pipe
SOURCES = str(Path(__file__).resolve().parents[2])
DECODER = "import sys; sys.path[:] = sys.argv[1:]; from cifar10.pictures.decoder import serve; serve()"
WATCHES = sys.platform == "darwin"  # macOS does not enforce a process's memory limit


class Reader:
    """Run one decoder for all pictures. It ends with its input, so it does not outlive this process."""

    def __init__(self) -> None:
        self._start()

    def __enter__(self) -> "Reader":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._end()

    def read(self, source: str, pipe: bool) -> bytes:
        """Return the pixels (32, 32, 3), RGB, of a file, or of standard input for "-"; read a pipe only if `pipe`.

        Raise UserError, which says why, if the picture cannot be read.
        """
        reason = b""
        with opened(source, pipe) as file, suppress(ConnectionError):  # the decoder has died
            rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", file.fileno()))
            # Without the flag, which socket.send_fds ignores, SIGPIPE would end this process.
            self._socket.sendmsg([b"."], [rights], getattr(socket, "MSG_NOSIGNAL", 0))
            if WATCHES:
                self._watch()
            reason = self._answers.readline()
        if not reason:
            code = self._end()
            self._start()
            killed = {-signal.SIGPROF: TOO_SLOW, -signal.SIGKILL: TOO_LARGE}  # the system or _watch sends SIGKILL
            raise UserError(killed.get(code, f"cannot be read: its decoder ended with exit code {code}"))
        if reason != b"\n":
            raise UserError(reason.decode().rstrip("\n"))
        return self._answers.read(SIDE * SIDE * 3)

    def _start(self) -> None:
        self._socket, theirs = socket.socketpair()
        if sys.platform == "darwin":  # macOS has this instead of MSG_NOSIGNAL
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_NOSIGPIPE, 1)
        self._answers = self._socket.makefile("rb")
        command = [sys.executable, "-I", "-S", "-c", DECODER, SOURCES, *sys.path]  # only this process's modules
        with theirs:
            try:
                self._process = subprocess.Popen(
                    command,
                    # Otherwise glibc and numpy reserve memory for each thread, and numpy starts one on each core.
                    env=os.environ | {"MALLOC_ARENA_MAX": "1", "OPENBLAS_NUM_THREADS": "1"},
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,  # libtiff and Pillow's logger print to it
                )
            except OSError as error:
                raise UserError(f"{sys.executable}: cannot be started: {error.strerror}") from None

    def _end(self) -> int:
        self._answers.close()
        self._socket.close()
        return self._process.wait()

    def _watch(self) -> None:
        while not select.select([self._socket], [], [], 0.1)[0]:
            size = subprocess.run(["ps", "-o", "rss=", "-p", str(self._process.pid)], stdout=subprocess.PIPE).stdout
            if int(size or 0) * 1024 > MOST_MEMORY:
                self._process.kill()


def opened(source: str, pipe: bool) -> BinaryIO:
    """Return the file, or a copy of what a pipe sends; raise UserError if it cannot be opened."""
    try:
        if source == "-":
            if sys.stdin is None or sys.stdin.isatty():
                raise UserError("there is no picture in standard input; send one: cifar10 classify - < picture.png")
            return _copy(sys.stdin.buffer)
        path = Path(source)
        mode = path.stat().st_mode
        if stat.S_ISFIFO(mode):
            if not pipe:  # nobody may ever write into it
                raise UserError("is a pipe, which is read only if the command names it")
            with path.open("rb") as file:
                return _copy(file)
        if not stat.S_ISREG(mode):
            raise UserError("is neither a file nor a folder")
        return path.open("rb")
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror}") from None


def _copy(pipe: BinaryIO) -> BinaryIO:
    """Copy `pipe` to a file, in which Pillow can go back. Raise UserError if it holds more than MOST_BYTES."""
    try:
        copy = tempfile.TemporaryFile()  # noqa: SIM115 # the caller closes it
        while block := pipe.read(1_000_000):
            if copy.tell() + len(block) > MOST_BYTES:
                copy.close()
                raise UserError(f"is too large for a pipe: at most {MOST_BYTES:,} bytes; name a file instead")
            copy.write(block)
        copy.seek(0)
    except OSError as error:
        raise UserError(f"cannot be copied: {error.strerror}; name another folder: TMPDIR=/folder") from None
    return copy
