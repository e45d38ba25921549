"""Who we are to a peer, and who a peer has proved to be."""

from collections.abc import Callable
from dataclasses import dataclass, field

from syncfs.crypto.certificates import Certificate
from syncfs.crypto.identity import DeviceIdentity
from syncfs.crypto.keys import Role, ShareKeys, sealed_salt
from syncfs.model.ids import DeviceId


@dataclass(frozen=True, slots=True)
class Credentials:
    """All that a session needs to know of this device in one share.

    `certificate` makes the device a writer (or whatever role it states). `now` tells the wall clock in s since 1970,
    for the ends of certificates. `carried_salt` is the sealed salt that a store has heard of and passes on to readers.
    """

    keys: ShareKeys
    identity: DeviceIdentity
    certificate: Certificate | None
    name: str
    listen_port: int
    now: Callable[[], int]
    carried_salt: bytes = b""
    features: tuple[str, ...] = ()

    @property
    def role(self) -> Role:
        """The role to claim: that of the certificate, or without one what the secret alone can prove."""
        if self.certificate is not None:
            return Role(self.certificate.role)
        return Role.READER if self.keys.role is Role.WRITER else self.keys.role

    @property
    def salt_to_tell(self) -> bytes:
        """The sealed salt of the share, or nothing where it is not known."""
        return sealed_salt(self.keys) or self.carried_salt


@dataclass(frozen=True, slots=True)
class PeerIdentity:
    """What a peer has proved (device, public, role, certificate) and what it merely says (the rest).

    A store cannot check that somebody is a reader, and takes his word for it: it gives readers nothing that it does not
    give stores. `learnt` holds our own keys completed by the share's public key where this peer taught it to us, and
    `clock` the peer's wall clock in s since 1970. The transport fills in `address` and `path` (lan, direct, relay).
    """

    device: DeviceId
    public: bytes
    role: Role
    name: str
    certificate: Certificate | None
    listen_port: int
    version: int
    clock: int
    features: tuple[str, ...] = ()
    learnt: ShareKeys | None = field(default=None, repr=False)
    carried_salt: bytes = field(default=b"", repr=False)
    address: str = ""
    path: str = ""
