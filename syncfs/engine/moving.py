"""What moves now, for `status`, `peers` and `transfers`: the rate of each link, what is read, and what is served.

Looked at when somebody asks; on the way of a read nothing is noted but that it had to wait.
"""

from collections.abc import Callable, Iterator

import trio

from syncfs.engine.chunks.cache import ChunkCache
from syncfs.engine.chunks.content import Content
from syncfs.engine.chunks.fetch import Fetcher
from syncfs.engine.writing.files import Files
from syncfs.index.index import Index
from syncfs.model.chunking import chunk_count, chunk_span
from syncfs.model.manifest import is_hole
from syncfs.model.reports import Rates, Transfer, shown_path
from syncfs.transport.link import Link

SAMPLE_SECONDS = 0.5
RECENT_SECONDS = 1.5
"""A file whose last read had to wait so lately is still being read."""
SERVING_RATE = 4096
"""Bytes per second beyond what a link says for itself, so that it must be serving."""
MOST_CHUNKS = 5_000
"""Of a file with more chunks it is not counted how much of it is here."""


class _Meter:
    """How fast one link is, over the time between two looks."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._time, self._down, self._up = trio.current_time(), link.bytes_in, link.bytes_out
        self._rates = Rates()

    def rates(self) -> Rates:
        """The rates since the look before."""
        now = trio.current_time()
        passed = now - self._time
        if passed >= SAMPLE_SECONDS:
            down, up = self._link.bytes_in, self._link.bytes_out
            self._rates = Rates(int((down - self._down) / passed), int((up - self._up) / passed))
            self._time, self._down, self._up = now, down, up
        return self._rates


class Moving:
    """Looks at the links and open files of one share."""

    def __init__(
        self, index: Index, files: Files, chunks: ChunkCache, fetcher: Fetcher, links: Callable[[], list[Link]]
    ) -> None:
        self._index = index
        self._files = files
        self._chunks = chunks
        self._fetcher = fetcher
        self._links = links
        self._meters: dict[Link, _Meter] = {}

    def rates(self) -> Rates:
        """How fast all links are together."""
        measured = [self.rates_of(link) for link in self._links()]
        return Rates(sum(one.down for one in measured), sum(one.up for one in measured))

    def rates_of(self, link: Link) -> Rates:
        """How fast one link is."""
        if link not in self._meters:
            self._meters = {one: self._meters.get(one) or _Meter(one) for one in self._links()}
        meter = self._meters.get(link)
        return meter.rates() if meter is not None else Rates()

    def transfers(self) -> list[Transfer]:
        """Each file that is being read from peers, each link that brings something else, each that we serve."""
        return [*self._coming(), *self._going()]

    def _coming(self) -> Iterator[Transfer]:
        asked = [link for link in self._links() if self._fetcher.owed_by(link)]
        names = ", ".join(sorted(link.peer.name for link in asked)) or None
        rate = sum(self.rates_of(link).down for link in asked)
        read = False
        for file in self._files.waiting(trio.current_time() - RECENT_SECONDS):
            path = self._index.path_of(file.ino)
            done, total = self._here(file.content)
            yield Transfer("down", "read", shown_path(path) if path is not None else None, names, done, total, rate)
            read = True
        for link in asked if not read else []:
            yield Transfer("down", "copy", None, link.peer.name, link.bytes_in, rate=self.rates_of(link).down)

    def _going(self) -> Iterator[Transfer]:
        for link in self._links():
            rate = self.rates_of(link).up
            if rate >= SERVING_RATE:
                yield Transfer("up", "serve", None, link.peer.name, link.bytes_out, rate=rate)

    def _here(self, content: Content) -> tuple[int, int]:
        """How many bytes of a file are on this computer, and of how many."""
        count = chunk_count(content.size)
        if content.inline is not None or count > MOST_CHUNKS:
            return 0, content.size
        done = 0
        for index in range(count):
            entry = content.entry_ready(index)
            if entry is not None and (is_hole(entry) or self._chunks.is_kept(entry)):
                start, stop = chunk_span(index)
                done += min(stop, content.size) - start
        return done, content.size
