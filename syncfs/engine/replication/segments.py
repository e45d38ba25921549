"""Getting the segments that a head lists: from its announcement, from our own index, or from peers."""

from collections.abc import Iterable, Mapping, Sequence

from syncfs.crypto.sealing import check_address
from syncfs.index.feeds import Feeds
from syncfs.model.errors import RefusedError, UnavailableError
from syncfs.model.ids import Address
from syncfs.transport.link import Link
from syncfs.wire.head import SegmentRef
from syncfs.wire.messages import Chunks, Get
from syncfs.wire.session import Priority

SEGMENT_SECONDS = 30.0


async def segments_of(
    refs: Sequence[SegmentRef], inside: Mapping[Address, bytes], feeds: Feeds, links: Iterable[Link]
) -> list[tuple[SegmentRef, bytes]]:
    """The bytes of these segments, verified by address, in the same order.

    `inside` are those that came with the announcement, `links` the peers to be asked, the one that announced them
    first. Raises UnavailableError, BadChunkError.
    """
    found = {address: inside[address] for address in (Address(ref.address) for ref in refs) if address in inside}
    for ref in refs:
        data = feeds.segment(ref.address)
        if data is not None:
            found[Address(ref.address)] = data
    for peer in links:
        missing = [ref.address for ref in refs if ref.address not in found]
        if not missing:
            break
        try:
            reply = await peer.request(Get(missing), priority=Priority.NORMAL, timeout=SEGMENT_SECONDS)
        except (UnavailableError, RefusedError):
            continue
        if isinstance(reply.message, Chunks):
            found.update(
                (Address(address), bytes(data))
                for address, data in zip(reply.message.found, reply.attachments, strict=True)
            )
    ordered: list[tuple[SegmentRef, bytes]] = []
    for ref in refs:
        if ref.address not in found:
            raise UnavailableError("records were announced that no peer could send")
        check_address(Address(ref.address), found[Address(ref.address)])
        ordered.append((ref, found[Address(ref.address)]))
    return ordered
