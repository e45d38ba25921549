"""The answer to INIT: what is added to it, and how it gets to the kernel."""

import os
import struct
from pathlib import Path

from syncfs.mount.terms import DONT_MASK, HANDLE_KILLPRIV_V2, WANTED, Terms, amended

POSIX_ACL = 1 << 20


def _request(flags: int) -> bytes:
    return struct.pack("<IIQ24xIIII", 104, 26, 1, 7, 45, 131072, flags) + bytes(48)


def _answer(flags: int, error: int = 0) -> bytes:
    return struct.pack("<IiQIIIIHHI", 80, error, 1, 7, 38, 131072, flags, 0, 0, 1 << 20) + bytes(40)


def _terms(answer: bytes) -> tuple[int, int, int]:
    flags, background, congestion = struct.unpack_from("<IHH", answer, 28)
    return flags, background, congestion


def test_what_the_kernel_offers_is_taken() -> None:
    answer = amended(_request(WANTED | POSIX_ACL), _answer(POSIX_ACL))
    assert _terms(answer) == (WANTED | POSIX_ACL, 64, 48)
    assert (len(answer), answer[36:]) == (80, _answer(0)[36:])
    assert _terms(amended(_request(DONT_MASK), _answer(0)))[0] == DONT_MASK


def test_what_is_no_answer_is_passed_on_as_it_is() -> None:
    for answer in (_answer(0, error=-5), _answer(0)[:16], _answer(0) + b"more"):
        assert amended(_request(HANDLE_KILLPRIV_V2), answer) == answer
    assert amended(b"short", _answer(0)) == _answer(0)


def test_the_first_request_goes_through_a_pipe_and_later_ones_do_not(tmp_path: Path) -> None:
    # A FIFO does for /dev/fuse: what is written into it comes out of it.
    path = tmp_path / "device"
    os.mkfifo(path)
    kernel = os.open(path, os.O_RDWR)
    device = os.open(path, os.O_RDWR)
    terms = Terms()
    os.write(kernel, _request(WANTED))
    assert terms.offer(device)
    assert os.read(device, 4096) == _request(WANTED)
    os.write(device, _answer(0))
    assert not terms.offer(device)
    assert os.fstat(device).st_ino == os.fstat(kernel).st_ino
    assert _terms(os.read(kernel, 4096))[0] == WANTED
    os.close(kernel)
    os.close(device)
