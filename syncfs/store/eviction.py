"""Which chunks to drop when the store is too big: a pure choice, least recently used first, down to a low watermark."""

from collections.abc import Callable, Iterable

from syncfs.model.ids import Address
from syncfs.model.places import Held


def choose(
    entries: Iterable[Held], used: int, limit: int, low_watermark: int, keep: Callable[[Address], bool]
) -> list[Address]:
    """The chunks to drop so that at most `low_watermark` bytes stay, or all that may go if that is not enough.

    `entries` come in the order in which they should go (`Catalogue.oldest`) and are taken only as far as needed.
    Nothing goes while `used` bytes are within `limit` bytes; what `keep` says yes to never goes.
    """
    if used <= limit:
        return []
    surplus = used - min(low_watermark, limit)
    chosen: list[Address] = []
    if surplus <= 0:
        return chosen
    for entry in entries:
        if keep(entry.address):
            continue
        chosen.append(entry.address)
        surplus -= entry.size
        if surplus <= 0:
            break
    return chosen
