"""Reading what is left of a damaged index, row by row: the signed feeds, from which everything else can be remade."""

import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(slots=True)
class Salvaged:
    """Rows of the tables of the same names (see schema.py), `numbers` and `texts` those of `meta`.

    `lost` counts the stretches that could not be read.
    """

    segments: list[tuple[bytes, bytes, int, int, bytes]] = field(default_factory=list)
    devices: list[tuple[bytes, bytes, str, str, bytes]] = field(default_factory=list)
    feeds: list[tuple[bytes, bytes, int, int]] = field(default_factory=list)
    numbers: dict[str, int] = field(default_factory=dict)
    texts: dict[str, bytes] = field(default_factory=dict)
    lost: int = 0


def salvage(path: Path) -> Salvaged:
    """All rows of the feeds that SQLite can still read; never raises for damage."""
    found = Salvaged()
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
            found.segments = _rows(connection, "address, device, first, last, data", "segments", found)
            found.devices = _rows(connection, "device, public, name, role, certificate", "devices", found)
            found.feeds = _rows(connection, "device, head, sequence, applied", "feeds", found)
            numbers = _rows(connection, "key, value", "meta", found)
            found.numbers = {key: value for key, value in numbers if isinstance(value, int)}
            found.texts = {key: value for key, value in numbers if isinstance(value, bytes)}
    except sqlite3.Error:
        found.lost += 1
    return found


def _rows(connection: sqlite3.Connection, columns: str, table: str, found: Salvaged) -> list[Any]:
    rows: list[Any] = []
    try:
        for row in connection.execute(f"SELECT {columns} FROM {table}"):
            rows.append(row)
    except sqlite3.Error:
        found.lost += 1
    return rows
