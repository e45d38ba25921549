"""The cipher of one direction of a session: AES-256-GCM with a counter as nonce, rekeyed as Noise does it.

Both sides count the frames and bytes of a direction alike, so they rekey at the same frame without a word. One lost,
repeated, reordered or altered frame makes all that follow unreadable, which is what a stream wants.
"""

from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from syncfs.crypto.hashing import BytesLike
from syncfs.crypto.noise import KEY_BYTES, TAG_BYTES, noise_nonce
from syncfs.model.errors import ForeignError

REKEY_BYTES: Final = 64 * 2**30
REKEY_FRAMES: Final = 2**32
_REKEY_COUNTER = 2**64 - 1


class FrameCipher:
    """Encrypts, or decrypts, the frames of one direction in order, under a key of 32 bytes.

    Use one object for each direction. After `rekey_bytes` of plaintext or `rekey_frames` frames the key is replaced.
    """

    def __init__(self, key: bytes, *, rekey_bytes: int = REKEY_BYTES, rekey_frames: int = REKEY_FRAMES) -> None:
        self._cipher = AESGCM(key)
        self._counter = 0
        self._rekey_bytes = rekey_bytes
        self._rekey_frames = rekey_frames
        self._bytes = 0
        self._frames = 0
        self._broken = False

    def encrypt(self, plain: BytesLike, aad: BytesLike = b"") -> bytes:
        """The next frame: ciphertext ‖ tag, 16 bytes longer than `plain`; `aad` is bound to it but not contained."""
        nonce = self._next(len(plain))
        return self._cipher.encrypt(nonce, plain, aad)

    def encrypt_into(self, plain: BytesLike, out: bytearray | memoryview, aad: BytesLike = b"") -> int:
        """Like `encrypt`, into `out`, which must have exactly len(plain) + 16 bytes; the number of bytes written."""
        nonce = self._next(len(plain))
        return self._cipher.encrypt_into(nonce, plain, aad, out)

    def decrypt(self, data: BytesLike, aad: BytesLike = b"") -> bytes:
        """The plaintext of the next frame. Raises ForeignError, from then on always, if it is not what was sent."""
        if self._broken or len(data) < TAG_BYTES:
            self._broken = True
            raise ForeignError("a frame of the session was damaged or forged, so the connection has to be made again")
        nonce = self._next(len(data) - TAG_BYTES)
        try:
            return self._cipher.decrypt(nonce, data, aad)
        except InvalidTag:
            self._broken = True
            raise ForeignError(
                "a frame of the session was damaged or forged, so the connection has to be made again"
            ) from None

    def rekey(self) -> None:
        """Replace the key by one that does not lead back to it (Noise §4.2 REKEY); the counter goes on."""
        self._cipher = AESGCM(self._cipher.encrypt(noise_nonce(_REKEY_COUNTER), bytes(KEY_BYTES), b"")[:KEY_BYTES])
        self._bytes = 0
        self._frames = 0

    def _next(self, size: int) -> bytes:
        """Count a frame, give its nonce. May replace the cipher, so it is called before the cipher is looked up."""
        if self._bytes >= self._rekey_bytes or self._frames >= self._rekey_frames:
            self.rekey()
        nonce = noise_nonce(self._counter)
        self._counter += 1
        self._frames += 1
        self._bytes += size
        return nonce
