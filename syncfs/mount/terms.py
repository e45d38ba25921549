"""The terms between the kernel and us: the answer to INIT, amended by what pyfuse3 and libfuse cannot ask for.

INIT is the first request of a mount, and libfuse answers it as far as it knows. So for this one request a pipe takes
the place of /dev/fuse: the request goes in, libfuse reads it and writes its answer behind it, and the answer goes on to
the kernel with more in it. From then on libfuse has /dev/fuse itself, and nothing is between the two.

What is asked for, where the kernel offers it:

- the umask is ours to apply, since it must not count where a default ACL does (see `xattrs`);
- a file without security.capability and set-id bits is remembered as such, so that not every write asks for them; the
  bits are dropped by us as before (see `privileges`);
- targets of symlinks are cached, since they never change;
- more requests of readahead and the like may be under way than the 12 of the kernel's default.
"""

import os
import struct
from typing import Final

DONT_MASK: Final = 1 << 6
CACHE_SYMLINKS: Final = 1 << 23
HANDLE_KILLPRIV_V2: Final = 1 << 28
"""Flags of INIT in linux/fuse.h."""
WANTED: Final = DONT_MASK | CACHE_SYMLINKS | HANDLE_KILLPRIV_V2
MAX_BACKGROUND: Final = 64
"""Requests of readahead and the like under way at once."""
CONGESTION: Final = 48
LARGEST_REQUEST: Final = (1 << 20) + 4096

_IN: Final = struct.Struct("<40xIIII")
"""fuse_in_header, then major, minor, max_readahead and flags of fuse_init_in."""
_OUT: Final = struct.Struct("<IiQIIIIHH")
"""fuse_out_header (length, error, unique), then major, minor, max_readahead, flags, max_background, congestion."""


def amended(request: bytes, answer: bytes) -> bytes:
    """The answer to INIT with our wishes in it; unchanged where it is a refusal, or no answer that we know."""
    if len(request) < _IN.size or len(answer) < _OUT.size:
        return answer
    offered = _IN.unpack_from(request)[3]
    length, error, unique, major, minor, readahead, flags, _, _ = _OUT.unpack_from(answer)
    if error or length != len(answer):
        return answer
    flags |= WANTED & offered
    wishes = _OUT.pack(length, error, unique, major, minor, readahead, flags, MAX_BACKGROUND, CONGESTION)
    return wishes + answer[_OUT.size :]


class Terms:
    """Stands between /dev/fuse and libfuse for one request."""

    def __init__(self) -> None:
        self._request = b""
        self._kernel = -1

    def offer(self, descriptor: int) -> bool:
        """Before each read of /dev/fuse until false comes back; true where INIT waits at the descriptor instead."""
        if self._kernel >= 0:
            self._agree(descriptor)
            return False
        try:
            self._request = os.read(descriptor, LARGEST_REQUEST)
        except OSError:
            return False  # unmounted already, as libfuse will find as well
        self._kernel = os.dup(descriptor)
        reading, writing = os.pipe2(os.O_CLOEXEC)
        both = os.open(f"/proc/self/fd/{reading}", os.O_RDWR | os.O_CLOEXEC)
        os.close(reading)
        os.close(writing)
        os.dup2(both, descriptor, inheritable=False)
        os.close(both)
        os.write(descriptor, self._request)
        return True

    def _agree(self, descriptor: int) -> None:
        answer = os.read(descriptor, LARGEST_REQUEST)
        os.dup2(self._kernel, descriptor, inheritable=False)
        os.close(self._kernel)
        os.write(descriptor, amended(self._request, answer))
