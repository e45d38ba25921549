"""Peers for tests: shares with credentials of each role, and two sessions that talk to each other in memory."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import blake2b

from syncfs.crypto.certificates import issue
from syncfs.crypto.identity import DeviceIdentity
from syncfs.crypto.keys import Role, ShareKeys, derive_keys, secrets_of
from syncfs.crypto.secrets import new_writer_secret
from syncfs.wire.credentials import Credentials
from syncfs.wire.session import Event, Session

NOW = 1_800_000_000


class Dice:
    """Deterministic bytes, different ones each time."""

    def __init__(self, seed: str) -> None:
        self._seed = seed.encode()
        self._count = 0

    def __call__(self, size: int) -> bytes:
        self._count += 1
        return b"".join(
            blake2b(self._seed + b"%d.%d" % (self._count, part)).digest() for part in range(size // 64 + 1)
        )[:size]


def share_keys(share: str = "share") -> ShareKeys:
    """A writer's keys of the share with this name."""
    return derive_keys(new_writer_secret(Dice(share)))


def person(
    name: str, role: Role = Role.WRITER, share: str = "share", *, now: int = NOW, expires: int = 0, learnt: bool = True
) -> Credentials:
    """Credentials of a device that is called `name`; one that has not learnt the share's key has only its secret."""
    writer = share_keys(share)
    identity = DeviceIdentity(Dice(f"device {name}")(32))
    secrets = secrets_of(writer)
    secret = {Role.WRITER: secrets.writer, Role.READER: secrets.reader, Role.STORE: secrets.store}[role]
    assert secret is not None
    keys = derive_keys(secret)
    if learnt and role is not Role.WRITER:
        from syncfs.crypto.keys import with_public

        assert writer.share_public is not None
        keys = with_public(keys, writer.share_public, writer.salt)
    certificate = None
    if role is Role.WRITER:
        certificate = issue(writer, identity.public, role, name, NOW - 1000, expires, Dice(f"serial {name}"))
    return Credentials(keys, identity, certificate, name, 4000, lambda: now)


@dataclass
class Pair:
    """Two sessions and all the events each of them has reported."""

    left: Session
    right: Session
    left_events: list[Event] = field(default_factory=list)
    right_events: list[Event] = field(default_factory=list)

    def exchange(self, *, chunk: int = 0) -> None:
        """Carry bytes both ways, in parts of `chunk` bytes if given, until neither side has anything to send."""
        while True:
            there = b"".join(self.left.data_to_send())
            back = b"".join(self.right.data_to_send())
            if not there and not back:
                return
            for part in parts(there, chunk):
                self.right_events += self.right.receive(part)
            for part in parts(back, chunk):
                self.left_events += self.left.receive(part)


def parts(data: bytes, size: int) -> Iterable[bytes]:
    """The data whole, or in parts of `size` bytes."""
    return [data] if not size else [data[start : start + size] for start in range(0, len(data), size)]


def pair(left: Credentials | None = None, right: Credentials | None = None, seed: str = "") -> Pair:
    """Two sessions that have not spoken yet; the left one is the initiator."""
    return Pair(
        Session(left or person("ann"), True, random=Dice(f"left {seed}")),
        Session(right or person("bob"), False, random=Dice(f"right {seed}")),
    )


def opened(left: Credentials | None = None, right: Credentials | None = None, seed: str = "") -> Pair:
    """Two sessions that are open, their events so far forgotten."""
    two = pair(left, right, seed)
    two.exchange()
    two.left_events.clear()
    two.right_events.clear()
    return two
