"""Tells the kernel what changed without it, so that infinite timeouts are exact.

A notification may wait inside the kernel: dropping pages waits for reads in flight, dropping a name for whatever goes
on in its directory, and both may wait for us. From the loop that is a deadlock, so notifications are sent by one
thread of their own, fed by the loop; the loop goes on answering, which is what ends the wait. The volume publishes the
new state first and tells afterwards; who asks between the two is told the truth, and is told it once more later.

- Only inodes that the kernel may know are told of. Events about the same thing that wait are merged.
- While a file is open only its attributes are dropped, which waits for nothing. Its pages belong to the version that is
  open; who opens the file from then on goes past them (`direct_io`), until all are closed and the pages can go.
- With a name its directory's pages go, which are the listing that the kernel keeps. One that was under way at that
  moment may arrive afterwards, so where that can be, they go once more a little later.
- Where with a name the node itself is gone (`is_gone`) the kernel is told so, for those who watch it with inotify;
  where it was only moved, that would make a moved directory unusable.
"""

import errno
import logging
import threading
import time
from collections.abc import Callable
from typing import Final, Protocol

from syncfs.engine.tree.posix import EntryChanged, InodeChanged, Invalidation
from syncfs.mount import protocol
from syncfs.mount.device import Device
from syncfs.mount.known import KernelView

HARMLESS: Final = frozenset({errno.ENOENT, errno.ENOTEMPTY, errno.EBUSY, errno.ENOTDIR, errno.ENOTCONN, errno.ENODEV})
"""The kernel does not hold it (any more), or has something mounted or cached below it that it looks up anew."""
CLOSE_S: Final = 5.0
LISTING_S: Final = 1.0
"""A listing that was sent is with the kernel after so long at most."""

log = logging.getLogger(__name__)


class Notifier(Protocol):
    """How to tell the kernel; may block."""

    def inode(self, ino: int, content: bool) -> None:
        """Drops attributes, and pages with `content`."""

    def entry(self, parent: int, name: bytes, deleted: int) -> None:
        """Drops a name; `deleted` is its inode where that is gone for good, else 0."""


class KernelNotifier:
    """Tells the kernel of a mount."""

    def __init__(self, device: Device) -> None:
        self._device = device

    def inode(self, ino: int, content: bool) -> None:
        """See Notifier."""
        self._device.notify(protocol.inode_notice(ino, content))

    def entry(self, parent: int, name: bytes, deleted: int) -> None:
        """See Notifier."""
        self._device.notify(protocol.entry_notice(parent, name, deleted))


class Invalidator:
    """The thread and its queue. `submit` and `close` belong to the loop; `is_gone` is called there."""

    def __init__(self, known: KernelView, notifier: Notifier, is_gone: Callable[[int], bool]) -> None:
        self._known = known
        self.notifier = notifier
        self._is_gone = is_gone
        self._inodes: dict[int, bool] = {}
        self._entries: dict[tuple[int, bytes], int] = {}
        self._again: dict[int, float] = {}
        self._changed = threading.Condition()
        self._busy = False
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="syncfs-invalidation", daemon=True)

    def start(self) -> None:
        """Begins to tell the kernel."""
        self._thread.start()

    def submit(self, event: Invalidation) -> None:
        """Takes note of a change; returns at once."""
        match event:
            case InodeChanged(ino, content):
                if self._known.knows(ino):
                    if content and self._known.is_open(ino):
                        self._known.mark_stale(ino)
                    with self._changed:
                        self._note_inode(ino, content)
            case EntryChanged(parent, name, removed):
                if self._known.knows(parent):
                    gone = removed is not None and self._known.knows(removed) and self._is_gone(removed)
                    with self._changed:
                        self._entries[parent, name] = removed if removed is not None and gone else 0
                        self._note_inode(parent, True)
                        if removed is not None and self._known.knows(removed):
                            self._note_inode(removed, False)

    def wait_told(self, timeout: float | None = None) -> bool:
        """Blocks until the kernel has been told everything so far; for threads other than the loop's."""
        with self._changed:
            return self._changed.wait_for(lambda: not (self._busy or self._inodes or self._entries), timeout)

    def close(self) -> None:
        """Ends the thread; what waits is not told any more."""
        with self._changed:
            self._closing = True
            self._inodes.clear()
            self._entries.clear()
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(CLOSE_S)

    def _note_inode(self, ino: int, content: bool) -> None:
        self._inodes[ino] = self._inodes.get(ino, False) or content
        self._changed.notify_all()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._busy = False
                self._changed.notify_all()
                due = min(self._again.values(), default=None)
                wait = None if due is None else max(due - time.monotonic(), 0)
                self._changed.wait_for(lambda: self._closing or self._inodes or self._entries, wait)
                if self._closing:
                    return
                again = self._take_due()
                entries, self._entries = self._entries, {}
                inodes, self._inodes = self._inodes, {}
                self._busy = True
            for (parent, name), deleted in entries.items():
                self._tell(self.notifier.entry, parent, name, deleted)
            for ino, content in inodes.items():
                told = time.monotonic()
                self._tell(self.notifier.inode, ino, content and not self._known.is_open(ino))
                if self._known.is_listed_since(ino, told - LISTING_S) and ino not in self._again:
                    self._again[ino] = told + LISTING_S

            for ino in again:
                self._tell(self.notifier.inode, ino, True)

    def _take_due(self) -> list[int]:
        """The directories whose listing was perhaps on its way to the kernel when that was told to drop it."""
        now = time.monotonic()
        due = [ino for ino, then in self._again.items() if then <= now]
        for ino in due:
            del self._again[ino]
        return due

    def _tell(self, notify: Callable[..., None], *what: object) -> None:
        if self._closing:
            return
        try:
            notify(*what)
        except OSError as error:
            if error.errno not in HARMLESS:
                log.warning("the kernel could not be told of a change: %s", error)
        except Exception:
            log.exception("the kernel could not be told of a change")
