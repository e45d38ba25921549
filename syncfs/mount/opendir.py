"""The answer to OPENDIR, amended so that the kernel may keep the listing; pyfuse3 and libfuse cannot ask for that.

With FOPEN_CACHE_DIR the kernel collects what a listing says and answers the next one itself, until it changes the
directory itself, or is told (`invalidation`) to drop its pages. pyfuse3 writes its answer to the descriptor of
/dev/fuse as soon as the handler returns, so while it does, a pipe takes the place of that descriptor, as for INIT (see
`terms`); nothing is awaited between `begin` and `end`. The one other thread that writes there holds `notifying`
meanwhile, and while that is taken an answer simply goes without the wish.
"""

import os
import struct
import threading
from contextlib import suppress
from typing import Final

KEEP_CACHE: Final = 1 << 1
CACHE_DIR: Final = 1 << 3
"""Flags of an open answer in linux/fuse.h."""

_OUT: Final = struct.Struct("<IiQQII")
"""fuse_out_header (length, error, unique), then fuse_open_out: handle, flags, backing id."""


def amended(answer: bytes) -> bytes:
    """The answer to OPENDIR with our wish in it; unchanged where it is a refusal."""
    if len(answer) != _OUT.size:
        return answer
    length, error, unique, handle, flags, backing = _OUT.unpack(answer)
    return answer if error else _OUT.pack(length, error, unique, handle, flags | KEEP_CACHE | CACHE_DIR, backing)


class ListingCache:
    """Stands between libfuse and /dev/fuse for the answers to OPENDIR."""

    def __init__(self) -> None:
        self.notifying = threading.Lock()
        self.amending = False
        """Whether an answer is under way through the pipe; `end` has to come before anything else then."""
        self._descriptor = self._kernel = self._pipe = -1

    def adopt(self, descriptor: int) -> None:
        """This is /dev/fuse."""
        reading, writing = os.pipe2(os.O_CLOEXEC)
        self._pipe = os.open(f"/proc/self/fd/{reading}", os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
        os.close(reading)
        os.close(writing)
        self._kernel = os.dup(descriptor)
        self._descriptor = descriptor

    def close(self) -> None:
        """Give the descriptors back."""
        self.end()
        for descriptor in (self._kernel, self._pipe):
            if descriptor >= 0:
                os.close(descriptor)
        self._descriptor = self._kernel = self._pipe = -1

    def begin(self) -> None:
        """The handler of an OPENDIR is about to return; the kernel may keep this directory's listing."""
        if self._descriptor >= 0 and self.notifying.acquire(blocking=False):
            os.dup2(self._pipe, self._descriptor, inheritable=False)
            self.amending = True

    def end(self) -> None:
        """The answer is written: on with it to the kernel."""
        if not self.amending:
            return
        self.amending = False
        os.dup2(self._kernel, self._descriptor, inheritable=False)
        self.notifying.release()
        with suppress(BlockingIOError):
            answer = amended(os.read(self._pipe, _OUT.size))
            with suppress(OSError):  # whoever asked has given up, or the mount is gone
                os.write(self._kernel, answer)
