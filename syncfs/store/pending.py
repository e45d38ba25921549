"""What threads are writing at this moment, so that the loop leaves it alone."""

import threading
from collections.abc import Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)


class Pending(Generic[Key]):
    """Counts writes that are begun and not yet recorded, by key. Any thread; never blocks for long."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[Key, int] = {}

    def begin(self, key: Key) -> None:
        """One more write of `key` is under way."""
        with self._lock:
            self._counts[key] = self._counts.get(key, 0) + 1

    def end(self, key: Key) -> None:
        """One write of `key` is recorded, or has failed."""
        with self._lock:
            left = self._counts.get(key, 0) - 1
            if left > 0:
                self._counts[key] = left
            else:
                self._counts.pop(key, None)

    def __contains__(self, key: Key) -> bool:
        return key in self._counts
