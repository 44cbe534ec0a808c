"""Note the signals that ask the training to stop."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")


class InterruptedWait(BaseException):
    """End the wait for a batch, which may never come."""


class Stop:
    """Hold the `number` of the first signal that came, or 0; the training checks it after each step."""

    number = 0
    _waiting = False

    def note(self, number: int) -> None:
        """Note a signal. Raise InterruptedWait if `ending` waits for an item."""
        self.number = self.number or number
        if self._waiting:
            self._waiting = False
            raise InterruptedWait

    def ending(self, items: Iterable[Item]) -> Iterator[Item]:
        """Yield `items` until a signal comes, even during the wait for an item."""
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
