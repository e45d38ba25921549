"""The handshake Noise_XXpsk0+psk3_25519_AESGCM_SHA256 (Noise Protocol Framework, revision 34), without input or output.

    → psk0, e
    ← e, ee, s, es
    → s, se, psk3

The first message can only be read by who knows psk0, so a stranger gets no answer to it. The static keys travel
encrypted, `ee` gives forward secrecy. A handshake that met an error is over: it must not be continued.
"""

import hashlib
import hmac
from typing import Final, Literal

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from syncfs.model.errors import ForeignError

NAME: Final = b"Noise_XXpsk0+psk3_25519_AESGCM_SHA256"
KEY_BYTES = 32
TAG_BYTES = 16
MAX_MESSAGE = 65535
"""Noise messages are never longer (§3 of the specification)."""

Token = Literal["psk0", "psk3", "e", "s", "ee", "es", "se"]
_PATTERN: Final[tuple[tuple[Token, ...], ...]] = (("psk0", "e"), ("e", "ee", "s", "es"), ("s", "se", "psk3"))

_REFUSED = "the other side does not know this share's secret or does not speak syncfs: compare the secrets"


def noise_nonce(counter: int) -> bytes:
    """The 12 bytes of AES-GCM nonce that Noise makes of a counter: 4 zero bytes, then 8 of it, big endian (§12.4)."""
    return counter.to_bytes(12, "big")


def x25519_public(private: bytes) -> bytes:
    """The X25519 public key, 32 bytes, of a private one."""
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


class _SymmetricState:
    """The chaining key, the transcript hash and the current cipher (§5.1, §5.2)."""

    def __init__(self, name: bytes) -> None:
        self.hash = name.ljust(32, b"\0") if len(name) <= 32 else hashlib.sha256(name).digest()
        self._chaining = self.hash
        self._cipher: AESGCM | None = None
        self._counter = 0

    def _hkdf(self, material: bytes, outputs: int) -> list[bytes]:
        temporary = hmac.digest(self._chaining, material, "sha256")
        made = [b""]
        for number in range(1, outputs + 1):
            made.append(hmac.digest(temporary, made[-1] + bytes([number]), "sha256"))
        return made[1:]

    def _set_key(self, key: bytes) -> None:
        self._cipher = AESGCM(key)
        self._counter = 0

    def mix_hash(self, data: bytes) -> None:
        self.hash = hashlib.sha256(self.hash + data).digest()

    def mix_key(self, material: bytes) -> None:
        self._chaining, key = self._hkdf(material, 2)
        self._set_key(key)

    def mix_key_and_hash(self, material: bytes) -> None:
        self._chaining, hashed, key = self._hkdf(material, 3)
        self.mix_hash(hashed)
        self._set_key(key)

    def encrypt_and_hash(self, plain: bytes) -> bytes:
        data = plain
        if self._cipher is not None:
            data = self._cipher.encrypt(noise_nonce(self._counter), plain, self.hash)
            self._counter += 1
        self.mix_hash(data)
        return data

    def decrypt_and_hash(self, data: bytes) -> bytes:
        plain = data
        if self._cipher is not None:
            plain = self._cipher.decrypt(noise_nonce(self._counter), data, self.hash)
            self._counter += 1
        self.mix_hash(data)
        return plain

    def split(self) -> tuple[bytes, bytes]:
        first, second = self._hkdf(b"", 2)
        return first, second


class Handshake:
    """One side of one handshake: `write` and `read` by turns, the initiator first, until `finished`.

    `static_private` and `ephemeral_private` are X25519 private keys of 32 bytes; an ephemeral key is made where none is
    given, and must never be given twice. Raises ForeignError when the other side breaks the protocol, speaks out of
    turn or knows other psks, and RuntimeError when the caller writes out of turn.
    """

    def __init__(
        self,
        initiator: bool,
        prologue: bytes,
        psk0: bytes,
        psk3: bytes,
        static_private: bytes,
        ephemeral_private: bytes | None = None,
    ) -> None:
        self.initiator = initiator
        self._psks = {"psk0": psk0, "psk3": psk3}
        self._static = X25519PrivateKey.from_private_bytes(static_private)
        self._ephemeral = (
            X25519PrivateKey.generate()
            if ephemeral_private is None
            else X25519PrivateKey.from_private_bytes(ephemeral_private)
        )
        self._remote_ephemeral: X25519PublicKey | None = None
        self._remote_static: X25519PublicKey | None = None
        self._state = _SymmetricState(NAME)
        self._state.mix_hash(prologue)
        self._step = 0
        self._failed = False

    @property
    def finished(self) -> bool:
        """Whether all three messages have been exchanged."""
        return self._step == len(_PATTERN) and not self._failed

    @property
    def my_turn(self) -> bool:
        """Whether this side writes the next message."""
        return not self._failed and self._step < len(_PATTERN) and (self._step % 2 == 0) == self.initiator

    @property
    def hash(self) -> bytes:
        """The 32 bytes that name this handshake once it is finished; signing them binds an identity to the session."""
        return self._state.hash

    @property
    def remote_static(self) -> bytes:
        """The X25519 static public key of the other side, 32 bytes; known as soon as its message was read."""
        if self._remote_static is None:
            raise RuntimeError("the other side has not sent its static key yet")
        return self._remote_static.public_bytes_raw()

    def write(self, payload: bytes = b"") -> bytes:
        """The next handshake message, carrying `payload` (in the first message readable by all who know the psks)."""
        if not self.my_turn:
            raise RuntimeError("this side of the handshake has nothing to write now")
        out = bytearray()
        for token in _PATTERN[self._step]:
            if token == "e":
                public = self._ephemeral.public_key().public_bytes_raw()
                out += public
                self._state.mix_hash(public)
                self._state.mix_key(public)
            elif token == "s":
                out += self._state.encrypt_and_hash(self._static.public_key().public_bytes_raw())
            else:
                self._mix(token)
        out += self._state.encrypt_and_hash(payload)
        if len(out) > MAX_MESSAGE:
            raise RuntimeError("a handshake message has at most 65535 bytes")
        self._step += 1
        return bytes(out)

    def read(self, message: bytes) -> bytes:
        """The payload of the other side's next message."""
        if self._failed or self.my_turn or self.finished or len(message) > MAX_MESSAGE:
            self._failed = True
            raise ForeignError(_REFUSED)
        try:
            payload = self._read(bytes(message))
        except (InvalidTag, ValueError):  # ValueError: too short, or a point of small order
            self._failed = True
            raise ForeignError(_REFUSED) from None
        self._step += 1
        return payload

    def split(self) -> tuple[bytes, bytes]:
        """The keys of the session, 32 bytes each: initiator → responder, responder → initiator (§5.2)."""
        if not self.finished:
            raise RuntimeError("the handshake is not finished")
        return self._state.split()

    def _read(self, message: bytes) -> bytes:
        position = 0
        for token in _PATTERN[self._step]:
            if token == "e":
                public = message[:KEY_BYTES]
                position = KEY_BYTES
                self._remote_ephemeral = X25519PublicKey.from_public_bytes(public)
                self._state.mix_hash(public)
                self._state.mix_key(public)
            elif token == "s":
                sealed = message[position : position + KEY_BYTES + TAG_BYTES]
                position += KEY_BYTES + TAG_BYTES
                self._remote_static = X25519PublicKey.from_public_bytes(self._state.decrypt_and_hash(sealed))
            else:
                self._mix(token)
        return self._state.decrypt_and_hash(message[position:])

    def _mix(self, token: Token) -> None:
        """Mix a pre-shared key or the result of a Diffie-Hellman; `es` is initiator ephemeral, responder static."""
        if token in self._psks:
            self._state.mix_key_and_hash(self._psks[token])
            return
        ours, theirs = (token[0], token[1]) if self.initiator else (token[1], token[0])
        private = self._ephemeral if ours == "e" else self._static
        public = self._remote_ephemeral if theirs == "e" else self._remote_static
        if public is None:
            raise RuntimeError("the handshake pattern uses a key before it is known")
        self._state.mix_key(private.exchange(public))
