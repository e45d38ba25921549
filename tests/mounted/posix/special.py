"""Fifos, sockets and device nodes: names in the tree, with the kernel behind them."""

import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

from tests.mounted.posix.acting import Other, attempt
from tests.mounted.posix.case import Case, Seen
from tests.mounted.posix.seeing import filled, names, open_and_close, shape, times_changed


def fifos(directory: Path) -> Iterator[Seen]:
    path = directory / "fifo"
    os.mkfifo(path, 0o640)
    yield "shape", shape(path)
    yield "again", attempt(os.mkfifo, path)
    yield "a writer without a reader", attempt(open_and_close, path, os.O_WRONLY | os.O_NONBLOCK)
    with Other(lambda: path.read_bytes()) as reader:
        reader.start()
        yield "written", path.write_bytes(b"through the fifo")
        yield "read", reader.finish()
    yield "nothing stays in it", shape(path)
    os.rename(path, directory / "moved")
    os.link(directory / "moved", path)
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open(directory / "moved", os.O_WRONLY)
    os.write(writer, b"through its link")
    yield "one fifo under two names", os.read(descriptor, 100)
    path.unlink()
    os.write(writer, b"without a name")
    yield "after unlink", os.read(descriptor, 100)
    yield "seek", attempt(os.lseek, descriptor, 0, os.SEEK_SET)
    os.close(descriptor)
    os.close(writer)
    yield "chmod", times_changed(directory / "moved", lambda: (directory / "moved").chmod(0o600))


def sockets(directory: Path) -> Iterator[Seen]:
    os.chdir(directory)  # a socket's path has at most 108 bytes
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind("socket")
        yield "shape", shape(directory / "socket")
        yield "not listening", attempt(client.connect, "socket")
        server.listen()
        yield "bound twice", attempt(socket.socket(socket.AF_UNIX).bind, "socket")
        client.connect("socket")
        accepted, _ = server.accept()
        client.sendall(b"through the socket")
        yield "received", accepted.recv(100)
        accepted.close()
        os.rename("socket", "moved")
        with socket.socket(socket.AF_UNIX) as second:
            yield "connected under a new name", attempt(second.connect, "moved")
            yield "and not under the old", attempt(second.connect, "socket")
    with socket.socket(socket.AF_UNIX) as late:
        yield "nobody listens any more", attempt(late.connect, "moved")
    yield "opened", attempt(open_and_close, directory / "moved", os.O_RDONLY)
    filled(directory / "file")
    with socket.socket(socket.AF_UNIX) as lost:
        yield "a file is no socket", attempt(lost.connect, "file")
    os.unlink("moved")
    yield "left", names(directory)


def devices(directory: Path) -> Iterator[Seen]:
    numbers = {"null": (1, 3), "zero": (1, 5), "large": (0xFFF, 0xFFFFF), "none": (0, 0), "odd": (259, 70_000)}
    for kind, bits in (("character", stat.S_IFCHR), ("block", stat.S_IFBLK)):
        for name, (major, minor) in numbers.items():
            path = directory / f"{kind} {name}"
            yield f"{path.name} made", attempt(os.mknod, path, bits | 0o660, os.makedev(major, minor))
            yield path.name, shape(path)
    yield "null reads nothing", attempt((directory / "character null").read_bytes)
    yield "null takes all", attempt((directory / "character null").write_bytes, b"gone")
    descriptor = os.open(directory / "character zero", os.O_RDONLY)
    yield "zero gives zeros", os.read(descriptor, 10)
    os.close(descriptor)
    yield "no such device", attempt(open_and_close, directory / "character large", os.O_RDONLY)
    os.rename(directory / "character null", directory / "moved")
    os.link(directory / "moved", directory / "linked")
    os.chown(directory / "linked", 65101, 65101)
    yield "moved, linked and given away", shape(directory / "moved")


def nodes(directory: Path) -> Iterator[Seen]:
    yield "a file by mknod", attempt(os.mknod, directory / "file", stat.S_IFREG | 0o640)
    yield "which is", shape(directory / "file")
    yield "without a kind", attempt(os.mknod, directory / "plain", 0o600)
    yield "which also is", shape(directory / "plain")
    yield "a directory", attempt(os.mknod, directory / "place", stat.S_IFDIR | 0o700)
    yield "a symlink", attempt(os.mknod, directory / "link", stat.S_IFLNK | 0o700)
    yield "over a file", attempt(os.mknod, directory / "file", stat.S_IFIFO | 0o600)
    yield "a socket", attempt(os.mknod, directory / "socket", stat.S_IFSOCK | 0o600)
    yield "a socket without a server", shape(directory / "socket")
    os.mkfifo(directory / "fifo")
    yield "truncate a fifo", attempt(os.truncate, directory / "fifo", 0)
    yield "an attribute on a fifo", attempt(os.setxattr, directory / "fifo", "user.note", b"x")
    yield "left", names(directory)


CASES = (Case(fifos), Case(sockets), Case(devices, root=True), Case(nodes))
