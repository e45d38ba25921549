"""A device: one Ed25519 key pair made at first use, and all that follows from its seed.

Whatever is signed is signed under a label of crypto.labels, so that a signature for one purpose is worth nothing for
another.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from syncfs.crypto import labels
from syncfs.crypto.hashing import blake3, derive, keyed_blake3
from syncfs.crypto.noise import x25519_public
from syncfs.model.errors import ForeignError
from syncfs.model.ids import DEVICE_BYTES, DeviceId

SEED_BYTES = 32
PUBLIC_BYTES = 32
SIGNATURE_BYTES = 64


@dataclass(frozen=True, slots=True)
class DeviceIdentity:
    """The keys of one device, all from its seed of 32 bytes.

    `public` is its Ed25519 key (32 bytes), `id` the start of that key's hash, `noise_static` and `noise_public` its
    X25519 key pair for sessions (32 bytes each).
    """

    seed: bytes = field(repr=False)
    public: bytes = field(init=False, repr=False)
    id: DeviceId = field(init=False)
    noise_static: bytes = field(init=False, repr=False)
    noise_public: bytes = field(init=False, repr=False)
    _private: Ed25519PrivateKey = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if len(self.seed) != SEED_BYTES:
            raise ValueError("the seed of a device has 32 bytes")
        private = Ed25519PrivateKey.from_private_bytes(self.seed)
        public = private.public_key().public_bytes_raw()
        noise_static = derive(self.seed, labels.DERIVE_DEVICE_NOISE_KEY)
        derived = {
            "_private": private,
            "public": public,
            "id": device_id(public),
            "noise_static": noise_static,
            "noise_public": x25519_public(noise_static),
        }
        for name, value in derived.items():
            object.__setattr__(self, name, value)

    def sign(self, data: bytes, context_label: str) -> bytes:
        """The device's signature of `data` for the purpose of the label, 64 bytes."""
        return self._private.sign(signed_text(data, context_label))

    def journal_key(self, salt: bytes) -> bytes:
        """The key, 32 bytes, of the local journal that carries this random `salt` of at least 16 bytes."""
        return keyed_blake3(derive(self.seed, labels.DERIVE_DEVICE_JOURNAL_KEY), salt)


def new_identity(random: Callable[[int], bytes]) -> DeviceIdentity:
    """A new device; `random` gives that many unpredictable bytes."""
    return DeviceIdentity(random(SEED_BYTES))


def device_id(public: bytes) -> DeviceId:
    """The id of the device that has this Ed25519 public key."""
    return DeviceId(blake3(public)[:DEVICE_BYTES])


def sign_with_seed(seed: bytes, data: bytes, label: str) -> bytes:
    """The signature of `data` by the Ed25519 key with this seed (a share's key), 64 bytes."""
    return Ed25519PrivateKey.from_private_bytes(seed).sign(signed_text(data, label))


def verify(public: bytes, data: bytes, signature: bytes, label: str) -> None:
    """Check a signature that `sign` made. Raises ForeignError if it is not by `public` for this label and data."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, signed_text(data, label))
    except (InvalidSignature, ValueError):
        raise ForeignError("a signature from a peer is wrong, so what it signed was refused") from None


def signed_text(data: bytes, label: str) -> bytes:
    """What is really signed: `label ‖ 0 ‖ data`."""
    return label.encode() + b"\0" + data
