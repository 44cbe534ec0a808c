"""Read picture files as the network takes them, for `cifar10 classify` and for the stage download."""

from cifar10.core import SIDE

HOW = f"the centre square, scaled to {SIDE}x{SIDE} (antialiased), transparency on white"

# A picture of any format gets no more than this, because a small file can ask for any amount.
MOST_MEMORY = 600_000_000  # bytes of a process, Python and Pillow included
MOST_SECONDS = 4.5  # of CPU time, so a busy machine refuses no more than an idle one
TOO_LARGE = f"needs more than {MOST_MEMORY // 10**6} MB of memory to decode; make it smaller"
TOO_SLOW = f"needs more than {MOST_SECONDS} seconds of CPU time to decode; make it smaller, or save it as PNG"


def printable(name: str) -> str:
    """Escape the line ends, the codes for terminals and the invalid bytes that a file's name may hold."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in name)
