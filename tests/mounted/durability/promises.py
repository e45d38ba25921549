"""What a file system owes a program after a crash, worked out from the program's own account of its steps.

A file shows what it held at one moment since it was `kept` last, a long write perhaps only up to the end of some page:
the kernel hands it on in pieces. Only where the crash came while the file was `syncing`, each byte and the size may be
old or new for themselves, since a journal may be there in part. Steps on names (`create`, `replace`, `unlink`,
`rename`) may or may not have happened until `named` or `kept`, but they happen whole: what a rename put under a name
has all its bytes, and what was written after it never shows under the former one (docs/decisions/0032).
"""

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final

Steps = Iterable[list[Any]]
PAGE: Final = 4096


def data_of(seed: int, length: int) -> bytes:
    """The bytes that a seed stands for."""
    return random.Random(seed).randbytes(length)


@dataclass(frozen=True)
class Write:
    """Bytes that were put somewhere."""

    at: int
    data: bytes

    @property
    def stop(self) -> int:
        """Where they end."""
        return self.at + len(self.data)

    def go_over(self, content: bytearray) -> None:
        """Do it."""
        if self.at > len(content):
            content.extend(bytes(self.at - len(content)))
        content[self.at : self.stop] = self.data

    def page_ends(self) -> range:
        """Where it may have been cut off."""
        return range((self.at // PAGE + 1) * PAGE, self.stop, PAGE)

    def has_begun(self, before: bytearray, found: bytes) -> bool:
        """Whether `found` is `before` with the first pages of this write, but not all."""
        if found[: self.at] != before[: self.at].ljust(self.at, b"\0"):
            return False
        old, new, done = memoryview(before), memoryview(found), self.at
        for end in self.page_ends():
            if new[done:end] != self.data[done - self.at : end - self.at]:
                return False
            if len(found) == max(len(before), end) and new[end:] == old[end:]:
                return True
            done = end
        return False


@dataclass(frozen=True)
class Truncation:
    """A size that was set."""

    size: int

    def go_over(self, content: bytearray) -> None:
        """Do it."""
        del content[self.size :]
        content.extend(bytes(self.size - len(content)))

    def has_begun(self, before: bytearray, found: bytes) -> bool:
        """It happens whole."""
        return False


@dataclass
class Content:
    """A file: what was kept of it, and what happened to it since."""

    kept: bytes = b""
    now: bytearray = field(default_factory=bytearray)
    steps: list[Write | Truncation] = field(default_factory=list)
    syncing: bool = False

    def moved(self) -> "Content":
        """The same file under its new name: whoever sees that name sees everything written before."""
        return Content(bytes(self.now), bytearray(self.now))

    def step(self, step: Write | Truncation) -> None:
        """It may or may not have happened until the file is kept."""
        step.go_over(self.now)
        self.steps.append(step)

    def keep(self) -> None:
        """All of it is certain from now on."""
        self.kept, self.steps, self.syncing = bytes(self.now), [], False

    def explains(self, found: bytes) -> bool:
        """Whether a crash may leave these bytes."""
        if found == self.kept:
            return True
        if self.syncing:
            return self._mixes_to(found)  # and so whatever it held at one moment
        return any(found == after or step.has_begun(before, found) for before, step, after in self._moments())

    def sizes(self) -> list[int]:
        """The sizes that the file had since it was kept, in order of time."""
        found = [len(self.kept)]
        for step in self.steps:
            found.append(max(found[-1], step.stop) if isinstance(step, Write) else step.size)
        return found

    def difference(self, found: bytes) -> str:
        """Where other bytes were found than those now in the file."""
        places = [at for at, (one, other) in enumerate(zip(self.now, found, strict=False)) if one != other]
        if not places:
            return "the same bytes as far as both go"
        zeros = "zeros" if not any(found[places[0] : places[-1] + 1]) else "other bytes"
        return f"{zeros} at {len(places)} places from {places[0]} to {places[-1]}"

    def _moments(self) -> Iterator[tuple[bytearray, Write | Truncation, bytearray]]:
        """Each step with what was there before and after it."""
        content = bytearray(self.kept)
        for step in self.steps:
            before = bytearray(content)
            step.go_over(content)
            yield before, step, content

    def _mixes_to(self, found: bytes) -> bool:
        """Whether each byte is old or new, and the size one that the file had or that some part of a write gives it."""
        layers, size = [Write(0, self.kept)], len(self.kept)
        for step in self.steps:
            if isinstance(step, Write):
                layers.append(step)
                size = max(size, step.stop)
            else:
                layers.append(Write(step.size, bytes(max(size - step.size, 0))))
                size = step.size
        sizes = {*self.sizes(), *(layer.stop for layer in layers)}
        if len(found) not in sizes and not any(len(found) in layer.page_ends() for layer in layers):
            return False
        edges = {0, len(found)} | {min(edge, len(found)) for layer in layers for edge in (layer.at, layer.stop)}
        return all(self._mixes_to_part(layers, found, *part) for part in pairwise(sorted(edges)))

    @staticmethod
    def _mixes_to_part(layers: list[Write], found: bytes, start: int, stop: int) -> bool:
        part = found[start:stop]
        options = [bytes(stop - start)] if stop > layers[0].stop else []
        options += [
            each.data[start - each.at : stop - each.at] for each in layers if each.at <= start < stop <= each.stop
        ]
        return part in options or all(byte in choice for byte, *choice in zip(part, *options, strict=True))


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
            else f"sizes {one.sizes()}{' while syncing' if one.syncing else ''}, {one.difference(found)}"
            for one in options
        )

    def _create(self, name: str) -> None:
        self._options(name).append(Content())

    def _write(self, name: str, at: int, seed: int, length: int) -> None:
        self._current(name).step(Write(at, data_of(seed, length)))

    def _truncate(self, name: str, size: int) -> None:
        self._current(name).step(Truncation(size))

    def _syncing(self, name: str) -> None:
        self._current(name).syncing = True

    def _replace(self, name: str, seed: int, length: int) -> None:
        data = data_of(seed, length)
        self._options(name).append(Content(data, bytearray(data)))

    def _unlink(self, name: str) -> None:
        self._options(name).append(None)

    def _rename(self, name: str, other: str) -> None:
        self._options(other).append(self._current(name).moved())
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
