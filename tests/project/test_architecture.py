"""The page on the architecture says what the code does: the picture of the layers, and the bounds of memory."""

import importlib
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[2]
PAGE: Final = ROOT / "docs" / "architecture.md"
UNITS: Final = {"": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
BOUND: Final = re.compile(r"^\| ([^|]+) \| (\d+) ?(\w*) \| `([\w/]+)\.py` `(\w+)` \|$", re.MULTILINE)


def bounds() -> list[tuple[str, str, str, int]]:
    """The rows of the table of memory: what, module, constant, value."""
    rows: list[tuple[str, str, str, str, str]] = BOUND.findall(PAGE.read_text())
    return [
        (what, f"syncfs.{module.replace('/', '.')}", name, int(number) * UNITS[unit])
        for what, number, unit, module, name in rows
    ]


def test_the_picture_of_the_layers_is_that_of_the_code() -> None:
    subprocess.run([sys.executable, str(ROOT / "scripts" / "draw-layers"), "--check"], check=True)


@pytest.mark.parametrize(("what", "module", "name", "value"), bounds(), ids=lambda each: str(each)[:30])
def test_a_bound_is_that_of_the_code(what: str, module: str, name: str, value: int) -> None:
    assert getattr(importlib.import_module(module), name) == value, what


def test_the_table_of_bounds_is_read() -> None:
    assert len(bounds()) >= 15
