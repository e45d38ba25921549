"""UNIX sockets of this computer: the plain blocking end for commands, and the notice to systemd.

The listening end needs trio and lives in transport.local_listener, so that a command that only asks a question does not
load it. Socket paths are limited to about 108 bytes; a longer one is reached through a descriptor of its directory.
"""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

from syncfs.model.errors import SilentError, UnavailableError

MAX_SOCKET_PATH = 100
READ_BYTES = 64 * 1024


@contextmanager
def socket_address(path: Path) -> Iterator[str]:
    """The name by which the system takes the socket at `path`, valid inside the block."""
    if len(os.fsencode(path)) <= MAX_SOCKET_PATH:
        yield str(path)
        return
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)


class LocalConnection:
    """A blocking stream of lines to a process of this computer."""

    def __init__(self, connected: socket.socket, max_line: int) -> None:
        self._socket = connected
        self._max_line = max_line
        self._buffer = bytearray()

    def __enter__(self) -> "LocalConnection":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def set_timeout(self, seconds: float | None) -> None:
        """How long one send or receive may take from now on; None waits for ever."""
        self._socket.settimeout(seconds)

    def send_line(self, line: bytes) -> None:
        """Send a line, which holds no line break. Raises UnavailableError, SilentError.

        One who has hung up is no error here: what it said before, or that it said nothing, is for `receive_line`.
        """
        try:
            self._socket.sendall(line + b"\n")
        except TimeoutError as error:
            raise SilentError("the running share takes no request: see its log") from error
        except (BrokenPipeError, ConnectionResetError):
            pass
        except OSError as error:
            raise UnavailableError(f"the running share cannot be asked: {error.strerror or error}") from error

    def receive_line(self) -> bytes | None:
        """The next line, without its line break; None at the end. Raises UnavailableError.

        Raises SilentError where nothing came in time; it may be called again then.
        """
        searched = 0
        while (end := self._buffer.find(b"\n", searched)) < 0:
            searched = len(self._buffer)
            if searched > self._max_line:
                raise UnavailableError("the running share sent more than an answer can hold")
            try:
                data = self._socket.recv(READ_BYTES)
            except TimeoutError as error:
                raise SilentError("the running share does not answer in time: see its log") from error
            except OSError:
                data = b""
            if not data:
                return None
            self._buffer += data
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return line

    def close(self) -> None:
        """Hang up."""
        self._socket.close()


def connect_local(path: Path, timeout: float, max_line: int) -> LocalConnection | None:
    """Call whoever listens at `path`; None where nobody does. Raises UnavailableError where that cannot be told.

    Raises SilentError where so many wait already that nobody can have looked for long.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(timeout)
    try:
        with socket_address(path) as address:
            connection.connect(address)
    except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
        connection.close()
        return None
    except PermissionError as error:
        connection.close()
        raise UnavailableError(
            f"the control socket {path} belongs to another user: ask as the one who runs the share"
        ) from error
    except (TimeoutError, BlockingIOError) as error:
        connection.close()
        raise SilentError("the running share takes no call: see its log") from error
    except OSError as error:
        connection.close()
        raise UnavailableError(f"the control socket {path} does not answer: {error.strerror or error}") from error
    return LocalConnection(connection, max_line)


def notify_supervisor(address: str, message: str) -> None:
    """Send a state such as `READY=1` to the socket that systemd named in NOTIFY_SOCKET; a supervisor that is gone is
    no error of ours (sd_notify(3))."""
    name = "\0" + address[1:] if address.startswith("@") else address
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as connection, suppress(OSError):
        connection.settimeout(1.0)
        connection.sendto(message.encode(), name)
