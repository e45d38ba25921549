"""Sealing of content: chunks, the bodies of segments, the local journal.

    id = keyed BLAKE3(chunk id key, plaintext)        key = keyed BLAKE3(chunk key, id)
    data = AES-256-GCM(key, zero nonce, plaintext)    address = BLAKE3(data)

Equal content gives equal bytes in one share and unrelated ones in another. A chunk key encrypts one plaintext only, so
its nonce need not vary. The functions hold the GIL on small inputs only: big ones may run in threads side by side.
"""

from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from syncfs.crypto.hashing import BytesLike, blake3, keyed_blake3
from syncfs.crypto.keys import ReadKeys
from syncfs.model.errors import BadChunkError, DamageError, ForeignError
from syncfs.model.ids import Address, ChunkId

TAG_BYTES = 16
SEGMENT_NONCE_BYTES = 24
JOURNAL_NONCE_BYTES = 12
_ZERO_NONCE = bytes(12)


@dataclass(frozen=True, slots=True)
class Sealed:
    """A sealed chunk: `data` is ciphertext ‖ tag, `address` its hash, `id` known to readers only."""

    id: ChunkId
    address: Address
    data: bytes = field(repr=False)


class Sealer:
    """Seals and opens the chunks of one share; holds no state, so threads may share it."""

    def __init__(self, read: ReadKeys) -> None:
        self._read = read

    def seal(self, plain: BytesLike) -> Sealed:
        """Seal the plaintext of a chunk; `data` is 16 bytes longer."""
        chunk = ChunkId(keyed_blake3(self._read.chunk_id_key, plain))
        data = self._cipher(chunk).encrypt(_ZERO_NONCE, plain, None)
        return Sealed(chunk, address_of(data), data)

    def open(self, chunk: ChunkId, data: BytesLike) -> bytes:
        """The plaintext of a chunk, `data` being what its address was checked for. Raises BadChunkError."""
        try:
            return self._cipher(chunk).decrypt(_ZERO_NONCE, data, None)
        except (InvalidTag, ValueError):
            raise BadChunkError("a chunk cannot be decrypted: syncfs check --repair fetches it again") from None

    def _cipher(self, chunk: ChunkId) -> AESGCM:
        return AESGCM(keyed_blake3(self._read.chunk_key, chunk))


def address_of(data: BytesLike) -> Address:
    """The address of sealed bytes."""
    return Address(blake3(data))


def check_address(address: Address, data: BytesLike) -> None:
    """Raises BadChunkError unless `data` is what the address names."""
    if blake3(data) != address:
        raise BadChunkError("a chunk does not fit its address: syncfs check --repair fetches it again")


def seal_segment(read: ReadKeys, nonce: bytes, plain: BytesLike, public: BytesLike) -> bytes:
    """Seal the body of a segment: nonce ‖ ciphertext ‖ tag, 40 bytes longer than `plain`.

    `nonce` has 24 random bytes and makes a key of its own, so that any number of devices may draw nonces for ever.
    `public`, the readable part of the segment, is bound to the body but not contained in it.
    """
    if len(nonce) != SEGMENT_NONCE_BYTES:
        raise ValueError("the nonce of a segment has 24 bytes")
    return nonce + AESGCM(keyed_blake3(read.segment_key, nonce)).encrypt(_ZERO_NONCE, plain, public)


def open_segment(read: ReadKeys, sealed: BytesLike, public: BytesLike) -> bytes:
    """The body of a segment. Raises ForeignError if it was not sealed by a reader together with `public`."""
    view = memoryview(sealed)
    nonce = bytes(view[:SEGMENT_NONCE_BYTES])
    try:
        return AESGCM(keyed_blake3(read.segment_key, nonce)).decrypt(_ZERO_NONCE, view[SEGMENT_NONCE_BYTES:], public)
    except (InvalidTag, ValueError):
        raise ForeignError("a segment from a peer cannot be decrypted, so it was refused") from None


class JournalCipher:
    """Encrypts the entries of one local journal under a key of 32 bytes; the caller never repeats a nonce of 12."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    def seal(self, nonce: bytes, plain: BytesLike, aad: BytesLike = b"") -> bytes:
        """ciphertext ‖ tag, 16 bytes longer than `plain`; `aad` is bound to it but not contained."""
        return self._cipher.encrypt(nonce, plain, aad)

    def open(self, nonce: bytes, data: BytesLike, aad: BytesLike = b"") -> bytes:
        """The plaintext of an entry. Raises DamageError if it is not what was sealed with this nonce and `aad`."""
        try:
            return self._cipher.decrypt(nonce, data, aad)
        except (InvalidTag, ValueError):
            raise DamageError(
                "an entry of a journal cannot be decrypted: syncfs check shows what it belongs to"
            ) from None
