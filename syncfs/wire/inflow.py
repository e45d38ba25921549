"""The peer's bytes that are no whole unit yet, in one buffer that is used again and again.

A large unit is read to its very end and no further, so bytes are moved only where a read of little ones brought the
beginning of the next unit along: nothing of a large one has to be copied before it is decrypted.
"""

READ_BYTES = 64 * 1024
"""Bytes to ask a stream for while it is not known that a unit is longer."""


class Inflow:
    """Where the bytes of a stream are put until they are taken, in order."""

    def __init__(self) -> None:
        self._buffer = bytearray(READ_BYTES)
        self._start = 0
        self._end = 0

    def __len__(self) -> int:
        return self._end - self._start

    def room(self, wanted: int) -> memoryview:
        """Where the next bytes belong, while a unit of `wanted` bytes is awaited; never empty if that is not here."""
        held, size = len(self), max(wanted, READ_BYTES)
        if self._start + size > len(self._buffer):
            buffer = self._buffer if size <= len(self._buffer) else bytearray(size)
            buffer[:held] = self._buffer[self._start : self._end]
            self._buffer, self._start, self._end = buffer, 0, held
        return memoryview(self._buffer)[self._end : self._start + size]

    def filled(self, count: int) -> None:
        """So many bytes were put at the beginning of the room."""
        self._end += count

    def peek(self, size: int) -> memoryview:
        """The first bytes, to be used before the next call of anything here."""
        return memoryview(self._buffer)[self._start : min(self._start + size, self._end)]

    def take(self, size: int) -> memoryview:
        """The first bytes, which are no longer here; to be used before the next call of anything here."""
        taken = self.peek(size)
        self._start += size
        if self._start == self._end:
            self._start = self._end = 0
        return taken
