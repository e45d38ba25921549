"""Whose heads count: those of devices that have a writer's certificate, signed by the share."""

from collections.abc import Callable

from syncfs.crypto.certificates import decode_certificate, encode_certificate, verify_certificate
from syncfs.crypto.keys import Role
from syncfs.index.feeds import Feeds
from syncfs.model.errors import RefusedError
from syncfs.model.ids import DeviceId
from syncfs.wire.credentials import Credentials
from syncfs.wire.head import SignedHead, verify_head


class Writers:
    """Keeps the certificates that peers tell, and verifies heads by them."""

    def __init__(self, feeds: Feeds, credentials: Callable[[], Credentials]) -> None:
        self._feeds = feeds
        self._credentials = credentials

    def verify(self, head: SignedHead) -> None:
        """Raises ForeignError, RefusedError where the head's device did not sign it, or may not write."""
        verify_head(head)
        encoded = self._feeds.certificate(head.device)
        if encoded is None:
            raise RefusedError("records of a device without a writer's certificate were refused")
        certificate, credentials = decode_certificate(encoded), self._credentials()
        if credentials.keys.share_public is None:
            raise RefusedError("the share's public key is not known yet")
        verify_certificate(certificate, credentials.keys.share_public, credentials.now())
        if certificate.device_public != head.device_public or certificate.role != Role.WRITER.value:
            raise RefusedError(f"records of {certificate.name}, which may not write, were refused")

    def learn(self, encoded: bytes) -> None:
        """Keep a certificate that a peer tells. Raises ForeignError, RefusedError."""
        public = self._credentials().keys.share_public
        certificate = decode_certificate(encoded)
        if public is None or self._feeds.certificate(certificate.device) == encoded:
            return
        verify_certificate(certificate, public, 0)
        self._feeds.add_device(
            certificate.device,
            certificate.device_public,
            certificate.name,
            certificate.role,
            encode_certificate(certificate),
        )

    def certificates(self, device: DeviceId) -> list[bytes]:
        """The certificate that goes with a head of a device; none where it is not known."""
        encoded = self._feeds.certificate(device)
        return [] if encoded is None else [encoded]
