"""Amending the answer to OPENDIR, with a socket for the kernel."""

import os
import socket
import struct
from collections.abc import Iterator

import pytest

from syncfs.mount.opendir import CACHE_DIR, KEEP_CACHE, ListingCache, amended

ANSWER = struct.pack("<IiQQII", 32, 0, 7, 99, 1 << 4, 0)
REFUSAL = struct.pack("<IiQ", 16, -2, 7)


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """What stands for /dev/fuse, and the kernel's end of it."""
    ours, kernel = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, kernel:
        kernel.setblocking(False)
        yield ours, kernel


def test_a_refusal_is_not_touched() -> None:
    assert amended(REFUSAL) == REFUSAL
    assert amended(ANSWER)[16:24] == ANSWER[16:24]
    assert struct.unpack("<IiQQII", amended(ANSWER))[4] == 1 << 4 | KEEP_CACHE | CACHE_DIR


def test_one_answer_is_amended_and_later_ones_are_not(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, kernel = ends
    cache = ListingCache()
    cache.adopt(ours.fileno())
    for answer in (ANSWER, REFUSAL):
        cache.begin()
        os.write(ours.fileno(), answer)
        with pytest.raises(BlockingIOError):
            kernel.recv(100)
        cache.end()
        assert kernel.recv(100) == amended(answer)
        os.write(ours.fileno(), ANSWER)
        assert kernel.recv(100) == ANSWER
    cache.close()


def test_nothing_is_amended_while_somebody_else_writes(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, kernel = ends
    cache = ListingCache()
    cache.begin()  # before there is anything to stand in for
    cache.adopt(ours.fileno())
    with cache.notifying:
        cache.begin()
        os.write(ours.fileno(), ANSWER)
        cache.end()
    assert kernel.recv(100) == ANSWER
    cache.close()


def test_an_answer_that_was_never_written_holds_nothing_up(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, kernel = ends
    cache = ListingCache()
    cache.adopt(ours.fileno())
    cache.begin()
    cache.end()
    assert not cache.notifying.locked()
    os.write(ours.fileno(), ANSWER)
    assert kernel.recv(100) == ANSWER
    cache.close()
