"""What the kernel is told, with a kernel that only listens."""

import errno
import threading

from syncfs.engine.tree.posix import EntryChanged, InodeChanged
from syncfs.mount.invalidation import Invalidator
from syncfs.mount.known import ROOT, KernelView


class Kernel:
    """Notes what it is told; holds on while `gate` is closed."""

    def __init__(self) -> None:
        self.told: list[tuple[object, ...]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.inside = threading.Event()
        self.twice = threading.Event()

    def inode(self, ino: int, content: bool) -> None:
        self.inside.set()
        self.gate.wait(10)
        if (ino, content) in self.told:
            self.twice.set()
        self.told.append((ino, content))

    def entry(self, parent: int, name: bytes, deleted: int) -> None:
        self.told.append((parent, name, deleted))
        if name == b"unknown":
            raise OSError(errno.ENOENT, "unknown")


def _start(known: KernelView, kernel: Kernel, gone: frozenset[int] = frozenset()) -> Invalidator:
    invalidator = Invalidator(known, kernel, gone.__contains__)
    invalidator.start()
    return invalidator


def test_only_what_the_kernel_knows_is_told() -> None:
    known, kernel = KernelView(), Kernel()
    known.looked_up(7)
    invalidator = _start(known, kernel)
    for ino in (7, 8):
        invalidator.submit(InodeChanged(ino, True))
        invalidator.submit(EntryChanged(ino, b"unknown"))
    assert invalidator.wait_told(5)
    invalidator.close()
    assert {(7, True), (7, b"unknown", 0)} <= set(kernel.told)
    assert {what[0] for what in kernel.told} == {7}


def test_events_that_wait_are_merged() -> None:
    known, kernel = KernelView(), Kernel()
    kernel.gate.clear()
    known.looked_up(7)
    known.looked_up(8)
    invalidator = _start(known, kernel)
    invalidator.submit(InodeChanged(8, False))
    assert kernel.inside.wait(5)
    for _ in range(1000):
        invalidator.submit(InodeChanged(7, False))
        invalidator.submit(InodeChanged(7, True))
        invalidator.submit(EntryChanged(ROOT, b"name"))
    kernel.gate.set()
    assert invalidator.wait_told(5)
    invalidator.close()
    assert kernel.told == [(8, False), (ROOT, b"name", 0), (7, True), (ROOT, True)]


def test_pages_of_an_open_file_go_at_its_last_close() -> None:
    known, kernel = KernelView(), Kernel()
    known.looked_up(7)
    for handle in (1, 2):
        known.opened(handle, 7, writing=False)
    invalidator = _start(known, kernel)
    invalidator.submit(InodeChanged(7, True))
    assert invalidator.wait_told(5)
    assert kernel.told == [(7, False)]
    assert known.is_stale(7)
    assert (known.closed(1), known.closed(2), known.closed(2)) == (None, 7, None)
    invalidator.submit(InodeChanged(7, True))
    assert invalidator.wait_told(5)
    invalidator.close()
    assert kernel.told[-1] == (7, True)


def test_only_nodes_that_are_gone_are_told_as_deleted() -> None:
    known, kernel = KernelView(), Kernel()
    for ino in (7, 8):
        known.looked_up(ino)
    invalidator = _start(known, kernel, frozenset({7}))
    invalidator.submit(EntryChanged(ROOT, b"gone", 7))
    invalidator.submit(EntryChanged(ROOT, b"moved", 8))
    assert invalidator.wait_told(5)
    invalidator.close()
    assert (ROOT, b"gone", 7) in kernel.told
    assert (ROOT, b"moved", 0) in kernel.told


def test_lookups_are_counted() -> None:
    known = KernelView()
    for _ in range(3):
        known.looked_up(7)
    assert (known.forgotten(7, 2), known.knows(7), known.forgotten(7, 1), known.knows(7)) == (False, True, True, False)
    assert known.knows(ROOT)
    assert known.forgotten(ROOT, 1) is False
    assert len(known) == 0


def test_a_listing_that_was_under_way_is_dropped_once_more() -> None:
    known, kernel = KernelView(), Kernel()
    known.listed(ROOT)
    invalidator = _start(known, kernel)
    invalidator.submit(EntryChanged(ROOT, b"name"))
    assert invalidator.wait_told(5)
    known.listed(ROOT)
    assert kernel.twice.wait(10)
    invalidator.close()
    assert kernel.told == [(ROOT, b"name", 0), (ROOT, True), (ROOT, True)]
