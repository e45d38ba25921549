"""Our end of /dev/fuse: requests out of it, answers and notices into it, one message at a time.

It never blocks: a read finds a request or says that there is none. A request can be withdrawn, because its caller was
killed, at any moment before it is read; a blocking read would sleep then, and with it whoever holds the interpreter.

Short messages are read and written with the interpreter held (ctypes.PyDLL), so that no other thread delays them; the
long answer to a read of a file is written without it, since the kernel copies it meanwhile.
"""

import ctypes
import errno
import os
from typing import Final

from syncfs.mount import protocol
from syncfs.mount.protocol import LARGEST_REQUEST, Request

LONG: Final = 32 * 1024
"""Bytes of an answer from which on the interpreter is given to others meanwhile."""
ERRNOS: Final = 512
"""Every errno is below."""
PATH: Final = "/dev/fuse"

_libc = ctypes.PyDLL(None, use_errno=True)
_read, _write = _libc.read, _libc.write
_read.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t)
_write.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_size_t)
_read.restype = _write.restype = ctypes.c_ssize_t


class UnmountedError(Exception):
    """There will be no more requests."""


class Device:
    """An open /dev/fuse, which stays its opener's to close."""

    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self.descriptor = descriptor
        self._buffer = bytearray(LARGEST_REQUEST)
        self._view = memoryview(self._buffer)
        self._address = ctypes.addressof(ctypes.c_char.from_buffer(self._buffer))

    def take(self) -> Request | None:
        """The next request, whose body holds until the one after it; None where none waits. Raises UnmountedError."""
        length = _read(self.descriptor, self._address, LARGEST_REQUEST)
        if length < 0:
            code = ctypes.get_errno()
            if code in (errno.EAGAIN, errno.EINTR, errno.ENOENT):
                return None
            if code == errno.ENODEV:
                raise UnmountedError
            raise OSError(code, os.strerror(code), PATH)
        total, opcode, unique, ino, uid, gid, pid, _, _ = protocol.REQUEST.unpack_from(self._view)
        return Request(total, opcode, unique, ino, uid, gid, pid, self._view[protocol.REQUEST.size : length])

    def answer(self, unique: int, payload: bytes | bytearray | memoryview) -> None:
        """Sends an answer. Whoever asked may have given up, which is nobody's fault."""
        length = protocol.ANSWER.size + len(payload)
        header = protocol.ANSWER.pack(length, 0, unique)
        if length < LONG:
            self._send(header + payload)
            return
        try:
            os.writev(self.descriptor, (header, payload))
        except OSError as error:
            _judge(error.errno or errno.EIO)

    def refuse(self, unique: int, code: int) -> None:
        """Sends the answer that a request failed with an errno; EIO in place of what the kernel would not take."""
        self._send(protocol.ANSWER.pack(protocol.ANSWER.size, -(code if 0 < code < ERRNOS else errno.EIO), unique))

    def notify(self, notice: bytes) -> None:
        """Sends a notice; may wait for what goes on there, so not from the loop. Raises OSError."""
        os.write(self.descriptor, notice)

    def _send(self, message: bytes) -> None:
        if _write(self.descriptor, message, len(message)) < 0:
            _judge(ctypes.get_errno())


def _judge(code: int) -> None:
    """Raises OSError for an answer that the kernel found wrong, which is a fault of ours."""
    if code not in (errno.ENOENT, errno.ENODEV, errno.EBADF, errno.ENOTCONN):
        raise OSError(code, os.strerror(code), PATH)
