"""When each peer was last connected, kept over restarts: only writers leave anything else in the index.

A link is noted as it opens and as it ends; of one that a crash cut off, the beginning is known afterwards. What is
noted here is for people to read: nothing depends on it, so a disk that cannot take it fails nothing.
"""

import logging
from collections.abc import Callable
from contextlib import suppress

import msgspec

from syncfs.index.index import Index
from syncfs.model.errors import SyncfsError
from syncfs.model.ids import DeviceId
from syncfs.model.reports import RoleName
from syncfs.transport.link import Link

MAX_MEETINGS = 500
"""Whoever knows the secret of stores can meet us as any number of devices."""
_MET = "met "

_log = logging.getLogger(__name__)


class Meeting(msgspec.Struct, frozen=True, array_like=True):
    """`seconds` since 1970 when a device was last connected; `role` as its certificate or its secret proved it."""

    seconds: int
    role: RoleName
    name: str


class Meetings:
    """Notes who was met (an engine.peers.Attendant); `now` tells s since 1970, `wake` has a commit come soon."""

    def __init__(self, index: Index, now: Callable[[], int], wake: Callable[[], None]) -> None:
        self._feeds = index.feeds
        self._whole = index.database.whole
        self._now = now
        self._wake = wake
        self._met: dict[DeviceId, Meeting] = {}
        for key, text in self._feeds.texts(_MET):
            with suppress(msgspec.MsgspecError, ValueError):  # of another version: not worth a refusal
                self._met[DeviceId(bytes.fromhex(key.removeprefix(_MET)))] = msgspec.msgpack.decode(text, type=Meeting)

    def all(self) -> dict[DeviceId, Meeting]:
        """The last meeting with each device."""
        return dict(self._met)

    def opened(self, link: Link) -> None:
        """A link stands."""
        self._note(link)

    async def attend(self, link: Link) -> None:
        """Nothing beside the link."""

    def closed(self, link: Link) -> None:
        """The link is over."""
        self._note(link)

    def _note(self, link: Link) -> None:
        peer = link.peer
        meeting = self._met[peer.device] = Meeting(self._now(), peer.role.value, peer.name)
        try:
            with self._whole():  # so that a full disk is met here, and leaves nothing that a commit would fail on
                self._feeds.set_text(_key(peer.device), msgspec.msgpack.encode(meeting))
                while len(self._met) > MAX_MEETINGS:
                    oldest = min(self._met, key=lambda device: self._met[device].seconds)
                    del self._met[oldest]
                    self._feeds.drop_text(_key(oldest))
        except SyncfsError as error:
            _log.debug("when %s was met cannot be kept: %s", peer.name, error)
        else:
            self._wake()


def _key(device: DeviceId) -> str:
    return _MET + device.hex()
