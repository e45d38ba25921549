"""Messages byte by byte, against the layouts of linux/fuse.h, and the device that carries them."""

import errno
import os
import socket
import stat
import struct
from collections.abc import Iterator

import pytest

from syncfs.engine.tree.posix import AttributeChange, Attributes, StatFs
from syncfs.mount import protocol
from syncfs.mount.device import LONG, Device
from syncfs.mount.protocol import Request

FILE = Attributes(7, stat.S_IFREG | 0o640, 2, 1000, 100, 0, 5000, 16, -1, 1_500_000_000, 2**33 * 10**9 + 3)


def test_attributes_lie_where_the_kernel_looks_for_them() -> None:
    entry = protocol.entry(FILE)
    assert len(entry) == 128
    assert struct.unpack_from("<QQQQII", entry) == (7, 0, 2**64 - 1, 2**64 - 1, 0, 0)
    assert entry[40:] == protocol.attributes_reply(FILE)[16:]
    assert struct.unpack_from("<QQQqqqIII", entry, 40) == (7, 5000, 16, -1, 1, 2**33, 999_999_999, 500_000_000, 3)
    assert struct.unpack_from("<IIIIIII", entry, 100) == (FILE.mode, 2, 1000, 100, 0, 1 << 20, 0)


def test_entries_of_listings_are_padded_to_eight_bytes() -> None:
    for length in range(1, 256):
        listed = protocol.listed(b"n" * length, 9, stat.S_IFDIR | 0o755, 77)
        assert len(listed) % 8 == 0
        assert struct.unpack_from("<QQII", listed) == (9, 77, length, stat.S_IFDIR >> 12)
        assert listed[24:].rstrip(b"\0") == b"n" * length


def test_sizes_and_opened_files() -> None:
    told = protocol.statfs_reply(StatFs(block_size=4096, blocks=9, free=8, available=7, files=6, files_free=5))
    assert (len(told), struct.unpack_from("<QQQQQIII", told)) == (80, (9, 8, 7, 6, 5, 4096, 255, 4096))
    assert protocol.opened(5, protocol.KEEP_CACHE) == struct.pack("<QII", 5, 2, 0)
    assert len(protocol.NO_ENTRY) == len(protocol.UNTOLD) == 128


def setattr_body(valid: int) -> memoryview:
    times = (10, 20, 30, 1, 2, 3)
    return memoryview(struct.pack("<IIQQQqqqIIIIIIII", valid, 0, 4, 99, 0, *times, 0o100755, 0, 11, 12, 0))


@pytest.mark.parametrize(
    ("valid", "change", "handle"),
    [
        (0, AttributeChange(), None),
        (1 << 0, AttributeChange(mode=0o755), None),
        (1 << 1 | 1 << 2, AttributeChange(uid=11, gid=12), None),
        (1 << 3 | 1 << 6, AttributeChange(size=99), 4),
        (1 << 4, AttributeChange(atime=10_000_000_001), None),
        (1 << 5 | 1 << 8, AttributeChange(mtime=555), None),
        (1 << 4 | 1 << 5 | 1 << 7 | 1 << 8, AttributeChange(atime=555, mtime=555), None),
        (1 << 10, AttributeChange(ctime=30_000_000_003), None),
    ],
)
def test_what_setattr_asks_for(valid: int, change: AttributeChange, handle: int | None) -> None:
    assert protocol.asked_change(setattr_body(valid), 555) == (change, handle)


def test_forgetting_many() -> None:
    body = struct.pack("<II", 2, 0) + struct.pack("<QQQQ", 5, 1, 6, 3)
    assert protocol.forgotten(memoryview(body)) == [(5, 1), (6, 3)]


def init_body(minor: int, offered: int) -> memoryview:
    return memoryview(struct.pack("<IIII", 7, minor, 131072, offered) + bytes(48))


def test_terms_ask_for_nothing_that_the_kernel_does_not_offer() -> None:
    everything = protocol.init_reply(init_body(45, 2**32 - 1), acls=True)
    assert everything is not None and len(everything) == 64
    assert struct.unpack_from("<IIII", everything)[:3] == (7, 31, 131072)
    flags = struct.unpack_from("<IIII", everything)[3]
    assert flags & protocol.POSIX_ACL and flags & protocol.NO_OPENDIR_SUPPORT
    assert not flags & 1 << 15, "with FUSE_ASYNC_DIO the kernel shows old pages after a direct write in the background"
    assert struct.unpack_from("<HHIIHH", everything, 16) == (64, 48, 1 << 20, 1, 256, 0)
    little = protocol.init_reply(init_body(31, protocol.BIG_WRITES), acls=True)
    assert little is not None and struct.unpack_from("<IIII", little)[3] == protocol.BIG_WRITES
    plain = protocol.init_reply(init_body(31, 2**32 - 1), acls=False)
    assert plain is not None and not struct.unpack_from("<IIII", plain)[3] & protocol.POSIX_ACL
    assert protocol.init_reply(init_body(protocol.OLDEST - 1, 2**32 - 1), acls=True) is None


def test_notices() -> None:
    assert protocol.inode_notice(9, True) == struct.pack("<IiQQqq", 40, 2, 0, 9, 0, 0)
    assert protocol.inode_notice(9, False) == struct.pack("<IiQQqq", 40, 2, 0, 9, -1, 0)
    assert protocol.entry_notice(9, b"ab", 0) == struct.pack("<IiQQII", 35, 3, 0, 9, 2, 0) + b"ab\0"
    assert protocol.entry_notice(9, b"ab", 5) == struct.pack("<IiQQQII", 43, 6, 0, 9, 5, 2, 0) + b"ab\0"


@pytest.fixture
def ends() -> Iterator[tuple[Device, socket.socket]]:
    """A device, and the kernel's end of it."""
    ours, kernel = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, kernel:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        yield Device(ours.fileno()), kernel


def test_a_request_is_taken_or_there_is_none(ends: tuple[Device, socket.socket]) -> None:
    device, kernel = ends
    assert device.take() is None
    kernel.send(struct.pack("<IIQQIIIHH", 44, protocol.LOOKUP, 8, 1, 1000, 100, 4242, 0, 0) + b"abc\0")
    request = device.take()
    assert request is not None
    assert request[:7] == (44, protocol.LOOKUP, 8, 1, 1000, 100, 4242)
    assert request.name() == b"abc"
    assert device.take() is None


@pytest.mark.parametrize("length", [0, 5, LONG - 16, LONG, 100_000])
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_answers_of_every_length_and_kind(ends: tuple[Device, socket.socket], length: int, kind: type) -> None:
    device, kernel = ends
    payload = os.urandom(length)
    device.answer(8, kind(payload))
    assert kernel.recv(1 << 20) == struct.pack("<IiQ", 16 + length, 0, 8) + payload


def test_refusals_and_faults(ends: tuple[Device, socket.socket]) -> None:
    device, kernel = ends
    for code, told in ((errno.ENOENT, errno.ENOENT), (0, errno.EIO), (512, errno.EIO), (-1, errno.EIO)):
        device.refuse(8, code)
        assert kernel.recv(100) == struct.pack("<IiQ", 16, -told, 8)
    kernel.close()
    with pytest.raises(OSError, match="fuse"):
        device.answer(8, b"")


def test_two_names() -> None:
    request = Request(0, 0, 0, 0, 0, 0, 0, memoryview(b"12345678old\0new name\0"))
    assert request.names(8) == (b"old", b"new name")
