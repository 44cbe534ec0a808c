"""Whether the training has been asked to stop."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")


class InterruptedWait(BaseException):
    """Ends the wait for a batch, which may never come."""


class Stop:
    """`number` is that of the first signal that came, or 0; the training looks at it after each step."""

    number = 0
    _waiting = False

    def note(self, number: int) -> None:
        """Take note of a signal. As its handler, end the wait that it interrupts: the batch may never come."""
        self.number = self.number or number
        if self._waiting:
            self._waiting = False
            raise InterruptedWait

    def ending(self, items: Iterable[Item]) -> Iterator[Item]:
        """Yield `items` until a signal comes, also while one of them is waited for."""
        iterator, end = iter(items), object()
        try:
            while not self.number:
                self._waiting = True
                item = next(iterator, end)
                self._waiting = False
                if item is end:
                    return
                yield item  # type: ignore[misc]
        except InterruptedWait:
            pass
