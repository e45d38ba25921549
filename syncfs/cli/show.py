"""How values look to people: sizes, rates, times and tables, short and aligned; and JSON for programs.

Text that comes from other devices never reaches a terminal with its control characters.
"""

import sys
from collections.abc import Iterable, Sequence
from datetime import datetime

import msgspec

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
NOTHING = "-"
"""What a table shows where there is no value."""


def size(count: int | None) -> str:
    """A number of bytes: `0 B`, `1.5 KiB`, `312 MiB`."""
    if count is None:
        return NOTHING
    value, unit = float(count), 0
    while value >= 999.5 and unit < len(_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    return f"{value:.1f} {_UNITS[unit]}" if unit and value < 99.95 else f"{value:.0f} {_UNITS[unit]}"


def rate(count: int) -> str:
    """Bytes per second; nothing much is shown where nothing moves."""
    return f"{size(count)}/s" if count else NOTHING


def time(when: datetime | None) -> str:
    """A time as the clock on the wall here shows it."""
    if when is None:
        return NOTHING
    try:
        return when.astimezone().replace(tzinfo=None).isoformat(" ", "seconds")
    except (OverflowError, OSError, ValueError):  # the first and last hours that a datetime knows
        return when.replace(tzinfo=None).isoformat(" ", "seconds") + " UTC"


def duration(seconds: float) -> str:
    """`0.4 s`, `12 s`, `3 min`, `2 h`, `5 days`: how long something took or is going on, never below 0."""
    seconds = max(seconds, 0.0)  # where a clock was set back meanwhile
    for limit, divisor, unit in ((10, 1, "s"), (120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / divisor:.{1 if limit == 10 else 0}f} {unit}"
    return f"{seconds / 86400:.0f} days"


def plain(text: str) -> str:
    """A foreign text without what would steer a terminal."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def amount(count: int, one: str, many: str | None = None) -> str:
    """`1 file`, `3 files`, `1,234,567 files`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]], right: Iterable[int] = ()) -> str:
    """Rows in aligned columns under a head; the columns in `right` are aligned to the right."""
    cells = [list(head), *([plain(cell) or NOTHING for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    rightward = frozenset(right)
    lines = (
        "  ".join(
            cell.rjust(width) if column in rightward else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in cells
    )
    return "\n".join(line.rstrip() for line in lines)


def fields(pairs: Iterable[tuple[str, str]]) -> str:
    """Names and values below each other, the values aligned."""
    known = list(pairs)
    width = max((len(name) for name, _ in known), default=0)
    return "\n".join(f"{name.ljust(width)}  {plain(value)}".rstrip() for name, value in known)


def put(text: str) -> None:
    """Print to stdout; what its encoding cannot show is escaped."""
    stream = sys.stdout
    stream.write(text.encode(stream.encoding or "utf-8", "backslashreplace").decode(stream.encoding or "utf-8") + "\n")


def put_json(value: object) -> None:
    """Print a value as JSON, indented, for one answer."""
    put(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def put_json_line(value: object) -> None:
    """Print a value as one line of JSON at once, for an answer that goes on."""
    put(msgspec.json.encode(value).decode())
    sys.stdout.flush()
