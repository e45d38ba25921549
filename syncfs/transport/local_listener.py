"""The listening end of a UNIX socket: made for its owner alone, never where somebody else still listens."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import trio

from syncfs.model.errors import BusyError, SetupError
from syncfs.transport.local import connect_local, socket_address

BACKLOG = 64


@contextmanager
def listen_local(path: Path) -> Iterator[trio.SocketListener]:
    """Listen at `path`, mode 0600, until the block ends, which takes the socket away again.

    What an ended process left there is replaced. Raises BusyError where somebody listens already, SetupError where the
    directory does not allow a socket.
    """
    standing = connect_local(path, timeout=1.0, max_line=1)
    if standing is not None:
        standing.close()
        raise BusyError(f"another process listens at {path}: end it first")
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with suppress(FileNotFoundError):
            path.unlink()
        # Bound, but not yet listening: nobody can call before the mode is set.
        with socket_address(path) as address:
            listening.bind(address)
        path.chmod(0o600)
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        raise SetupError(f"the control socket {path} cannot be made: {error.strerror or error}") from error
    made = path.stat().st_ino
    try:
        yield trio.SocketListener(trio.socket.from_stdlib_socket(listening))
    finally:
        listening.close()
        with suppress(OSError):
            if os.stat(path).st_ino == made:  # noqa: PTH116 - not one that a successor put there
                path.unlink()
