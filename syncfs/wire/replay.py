"""Remembers the first handshake messages of late, so that a recorded one gets no answer when it is played again."""

from collections import OrderedDict

CAPACITY = 4096


class ReplayGuard:
    """Knows the last `capacity` messages it has seen. Feed it authentic messages only, or strangers flush it."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._seen: OrderedDict[bytes, None] = OrderedDict()

    def fresh(self, first: bytes) -> bool:
        """Whether this message was not seen before; it is from now on."""
        if first in self._seen:
            return False
        self._seen[first] = None
        if len(self._seen) > self._capacity:
            self._seen.popitem(last=False)
        return True
