"""Which chunks the devices' segments ask a store to keep: pure.

The public part of a segment names chunks that its device begins to need (`adds`) and such that no kept version needs
any more (`drops`). A device drops only what it has added itself, so nobody can make a store forget what another one
needs; a chunk is claimed while any device claims it. Within one segment drops come before adds.
"""

from collections.abc import Iterable
from collections.abc import Set as AbstractSet

from syncfs.model.ids import Address
from syncfs.wire.segment import Segment


def claimed(feed: Iterable[Segment], among: AbstractSet[bytes]) -> set[bytes]:
    """Those of some chunks that a device claims, by the segments of its feed in order."""
    found: set[bytes] = set()
    for segment in feed:
        found.difference_update(segment.drops)
        found.update(address for address in segment.adds if address in among)
    return found


def joined(segments: Iterable[Segment], earlier: Iterable[Segment]) -> tuple[list[Address], list[Address]]:
    """The adds and drops of one segment that takes the place of several; `earlier` ones of the feed stay beside it."""
    adds: dict[Address, None] = {}
    drops: dict[Address, None] = {}
    for segment in segments:
        for address in segment.drops:
            adds.pop(address, None)
            drops[address] = None
        for address in segment.adds:
            drops.pop(address, None)
            adds[address] = None
    if drops:
        still = claimed(earlier, drops.keys())
        drops = {address: None for address in drops if address in still}
    return list(adds), list(drops)
