"""A C program is unpacked and built with make, and rsync finds nothing to do after it has copied a tree."""

import os
import stat
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.end_to_end.peer import Peer
from tests.end_to_end.trees import differences, scan
from tests.mounted.programs.conftest import need

pytestmark = [pytest.mark.fuse, pytest.mark.root]

MAKEFILE = """\
OBJECTS = $(patsubst %.c,%.o,$(wildcard *.c))
CFLAGS = -O1 -g -pipe -MMD
all: program
libparts.a: $(filter-out main.o,$(OBJECTS))
\tar rcs $@ $^
program: main.o libparts.a
\t$(CC) -o $@ main.o -L. -lparts
-include $(OBJECTS:.o=.d)
"""


def make_sources(place: Path, parts: int) -> Path:
    """A tar file with a program of so many source files."""
    sources = place / "sources"
    sources.mkdir()
    (sources / "Makefile").write_text(MAKEFILE)
    (sources / "parts.h").write_text("".join(f"int part{number}(int);\n" for number in range(parts)))
    for number in range(parts):
        text = f'#include "parts.h"\nint part{number}(int n) {{ return n * 31 + {number}; }}\n'
        (sources / f"part{number}.c").write_text(text)
    calls = "".join(f"  n = part{number}(n);\n" for number in range(parts))
    head = '#include <stdio.h>\n#include "parts.h"\n'
    main = f'{head}int main(void) {{\n  unsigned n = 1;\n{calls}  printf("%u\\n", n);\n}}\n'
    (sources / "main.c").write_text(main)
    packed = place / "sources.tar.gz"
    with tarfile.open(packed, "w:gz") as tar:
        tar.add(sources, "sources")
    return packed


@pytest.mark.parametrize("parts", [40, pytest.param(2000, marks=pytest.mark.soak)])
def test_untar_and_compile(mounted: Peer, program: Callable[..., str], tmp_path: Path, parts: int) -> None:
    need("tar", "make", "gcc", "ar")
    packed = make_sources(tmp_path, parts)
    program("tar", "xzf", packed, where=mounted.mount)
    built = mounted / "sources"
    program("make", "-j2", where=built)
    expected = 1
    for number in range(parts):
        expected = (expected * 31 + number) & 0xFFFFFFFF
    assert program(built / "program") == f"{expected}\n"
    assert "up to date" in program("make", "program", where=built)  # times are kept to the nanosecond
    (built / "part3.c").touch()
    program("make", "-j2", where=built)
    assert program(built / "program") == f"{expected}\n"


def make_tree(place: Path) -> Path:
    """A tree with everything that rsync -aHAX copies."""
    tree = place / "tree"
    (tree / "folder" / "deep").mkdir(parents=True)
    for number, size in enumerate((0, 1, 900, 5000, 140_000, 2_500_000)):
        path = tree / "folder" / f"file{number}"
        path.write_bytes(os.urandom(size))
        path.chmod(0o600 + number)
    os.link(tree / "folder" / "file3", tree / "folder" / "deep" / "twin")
    (tree / "link").symlink_to("folder/file1")
    (tree / "dangling").symlink_to("nowhere")
    os.mkfifo(tree / "fifo")
    os.mknod(tree / "null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    with (tree / "sparse").open("wb") as file:
        file.seek(5_000_000)
        file.write(b"end")
    os.chown(tree / "folder" / "file2", 1234, 5678)
    (tree / "folder" / "file4").chmod(0o6755)
    os.setxattr(tree / "folder" / "file1", "user.note", b"\x00\xff value")
    os.setxattr(tree / "folder", "user.note", b"of a directory")
    (tree / "folder" / "deep").chmod(0o1777)
    date_back(tree)
    return tree


def date_back(tree: Path) -> None:
    """Give everything times of its own in the past: rsync does not set a time that is right to the second."""
    for number, path in enumerate([*sorted(tree.rglob("*"), reverse=True), tree]):
        os.utime(path, ns=(10**18 + number, 10**18 + 123_456_789 + number), follow_symlinks=False)


def test_rsync_has_nothing_to_do_the_second_time(mounted: Peer, program: Callable[..., str], tmp_path: Path) -> None:
    need("rsync", "setfacl")
    tree, copy = make_tree(tmp_path), mounted / "copy"
    program("setfacl", "-m", "u:1234:rwx,g:5678:r-x", tree / "folder" / "file5")
    program("setfacl", "-d", "-m", "u:1234:r-x", tree / "folder" / "deep")
    command = ("rsync", "-aHAX", "--delete", "--itemize-changes", f"{tree}/", f"{copy}/")
    assert program(*command)
    assert program(*command) == ""
    assert program(*command[:2], "--checksum", *command[2:]) == ""
    assert differences(scan(tree), scan(copy)) == []
    mounted.stop()
    mounted.start("xattr=on,acl,allow_other,default_permissions,suid,dev")
    assert program(*command) == ""
    (tree / "folder" / "file3").write_bytes(b"changed")
    (tree / "dangling").unlink()
    date_back(tree)
    assert program(*command)
    assert program(*command) == ""
    assert differences(scan(tree), scan(copy)) == []
