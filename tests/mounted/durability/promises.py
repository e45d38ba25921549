"""What a file system owes a program after a crash, worked out from the program's own account of its steps.

Steps on a file (`write`, `truncate`) may or may not have happened, byte by byte, until the file is `kept`. Steps on
names (`create`, `replace`, `unlink`, `rename`) may or may not have happened until `named` or `kept`, but they happen
whole: what a rename put under a name has all its bytes (ext4's promise with data=ordered and auto_da_alloc).
"""

import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

Steps = Iterable[list[Any]]


def data_of(seed: int, length: int) -> bytes:
    """The bytes that a seed stands for."""
    return random.Random(seed).randbytes(length)


@dataclass
class Content:
    """A file: what was kept of it, and what happened to it since."""

    kept: bytes = b""
    now: bytearray = field(default_factory=bytearray)
    sizes: set[int] = field(default_factory=lambda: {0})
    writes: list[tuple[int, bytes]] = field(default_factory=list)
    growing: list[range] = field(default_factory=list)
    """Sizes that the file had while a write that made it longer was under way."""
    earlier: "Content | None" = None
    """The same file as its former name may show it, where the rename may not have happened: it is changed with this."""

    def moved(self) -> "Content":
        """The same file under its new name: whoever sees that name sees everything written before."""
        found = Content(self.kept, bytearray(self.now), earlier=self)
        found.keep(moving=True)
        return found

    def write(self, at: int, data: bytes) -> None:
        """Bytes were put; what they are is certain when the file is kept."""
        if self.earlier is not None:
            self.earlier.write(at, data)
        self.growing.append(range(max(at, len(self.now)) + 1, at + len(data)))
        if at > len(self.now):
            self.now.extend(bytes(at - len(self.now)))
        self.now[at : at + len(data)] = data
        self.sizes.add(len(self.now))
        self.writes.append((at, data))

    def truncate(self, size: int) -> None:
        """The size was set; what was beyond it may be there or be zeros."""
        if self.earlier is not None:
            self.earlier.truncate(size)
        if size < len(self.now):
            self.writes.append((size, bytes(len(self.now) - size)))
        del self.now[size:]
        self.now.extend(bytes(size - len(self.now)))
        self.sizes.add(size)

    def keep(self, moving: bool = False) -> None:
        """All of it is certain from now on, under this name at least."""
        if self.earlier is not None and not moving:
            self.earlier.keep()
        self.kept, self.sizes, self.writes, self.growing = bytes(self.now), {len(self.now)}, [], []

    def explains(self, found: bytes) -> bool:
        """Whether a crash may leave these bytes."""
        if len(found) not in self.sizes and not any(len(found) in sizes for sizes in self.growing):
            return False
        edges = {0, len(found), min(len(self.kept), len(found))}
        for at, data in self.writes:
            edges |= {min(at, len(found)), min(at + len(data), len(found))}
        ordered = sorted(edges)
        return all(self._explains_part(found, *part) for part in pairwise(ordered))

    def difference(self, found: bytes) -> str:
        """Where other bytes were found than those now in the file."""
        places = [at for at, (one, other) in enumerate(zip(self.now, found, strict=False)) if one != other]
        if not places:
            return "the same bytes as far as both go"
        zeros = "zeros" if not any(found[places[0] : places[-1] + 1]) else "other bytes"
        return f"{zeros} at {len(places)} places from {places[0]} to {places[-1]}"

    def _explains_part(self, found: bytes, start: int, stop: int) -> bool:
        part = found[start:stop]
        layers = [self.kept[start:stop].ljust(stop - start, b"\0")]
        layers += [data[start - at : stop - at] for at, data in self.writes if at <= start and stop <= at + len(data)]
        return part in layers or all(byte in options for byte, *options in zip(part, *layers, strict=True))


class Promises:
    """What each name in one directory may show; None stands for nothing."""

    def __init__(self) -> None:
        self._shown: dict[str, list[Content | None]] = {}
        self.error: tuple[int, str] | None = None
        """The errno and the words with which the program ended by itself."""
        self.kept = 0
        """How many promises there were."""

    def follow(self, steps: Steps) -> None:
        """Take in what the program told."""
        for what, *words in steps:
            getattr(self, f"_{what}")(*words)

    def broken_by(self, found: dict[str, bytes]) -> list[str]:
        """What no crash may have left behind, a sentence each."""
        faults = []
        for name in sorted(set(self._shown) | set(found)):
            if name.endswith(".new"):
                continue  # a file that was being written when the crash came, and of which nothing was told yet
            options = self._shown.get(name, [None])
            content = found.get(name)
            if content is None:
                if None not in options:
                    faults.append(f"{name} is gone")
            elif not any(option is not None and option.explains(content) for option in options):
                faults.append(
                    f"{name} has {len(content)} bytes that are not what was kept: {self._told(options, content)}"
                )
        return faults

    @staticmethod
    def _told(options: list[Content | None], found: bytes) -> str:
        return "; ".join(
            "nothing"
            if one is None
            else f"sizes {sorted(one.sizes)}, {len(one.writes)} writes since, {one.difference(found)}"
            for one in options
        )

    def _create(self, name: str) -> None:
        self._options(name).append(Content())

    def _write(self, name: str, at: int, seed: int, length: int) -> None:
        self._current(name).write(at, data_of(seed, length))

    def _truncate(self, name: str, size: int) -> None:
        self._current(name).truncate(size)

    def _replace(self, name: str, seed: int, length: int) -> None:
        content = Content()
        content.write(0, data_of(seed, length))
        content.keep()
        self._options(name).append(content)

    def _unlink(self, name: str) -> None:
        self._options(name).append(None)

    def _rename(self, name: str, other: str) -> None:
        content = self._current(name).moved()
        self._options(other).append(content)
        self._options(name).append(None)

    def _kept(self, name: str) -> None:
        self._current(name).keep()
        self._named()

    def _named(self) -> None:
        self.kept += 1
        for options in self._shown.values():
            del options[:-1]

    def _error(self, number: int, words: str) -> None:
        self.error = number, words

    def _options(self, name: str) -> list[Content | None]:
        return self._shown.setdefault(name, [None])

    def _current(self, name: str) -> Content:
        current = self._options(name)[-1]
        assert current is not None, f"{name} was changed and is not there"
        return current
