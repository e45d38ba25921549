"""The folders are the architecture: an import against the order of the layers fails here."""

from pathlib import Path

import pytest

from tests.project.layers import ENGINE_STOREYS, STOREYS, violations

PACKAGE = Path(__file__).parents[2] / "syncfs"


def test_no_module_breaks_the_order() -> None:
    broken = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        is_package = parts[-1] == "__init__"
        module = ".".join(parts[:-1] if is_package else parts)
        broken += [
            f"{path.relative_to(PACKAGE.parent)}:{wrong}" for wrong in violations(module, path.read_text(), is_package)
        ]
    assert not broken, "\n" + "\n".join(broken)


def test_every_folder_has_its_storey() -> None:
    known = {layer for storey in STOREYS for layer in storey}
    assert {path.parent.name for path in PACKAGE.glob("*/__init__.py")} == known
    folders = {folder for storey in ENGINE_STOREYS for folder in storey} - {"engine"}
    assert {path.parent.name for path in PACKAGE.glob("engine/*/__init__.py")} == folders


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("syncfs.model.ids", "import syncfs.crypto.hashing"),
        ("syncfs.model.ids", "from syncfs import crypto"),
        ("syncfs.model.ids", "from ..crypto.hashing import blake3"),
        ("syncfs.model.ids", "def late():\n    from syncfs.engine import volume"),
        ("syncfs.wire.head", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from syncfs.index import rows"),
        ("syncfs.index.rows", "from syncfs.store.disk import DiskStore"),
        ("syncfs.store.disk", "from syncfs.index import rows"),
        ("syncfs.mount.handlers", "from syncfs.control.commands import table"),
        ("syncfs.control.commands", "import syncfs.mount.handlers"),
        ("syncfs.engine.tree.volume", "import importlib\nimportlib.import_module('syncfs.cli.main')"),
        ("syncfs.engine.tree.volume", "from cryptography.hazmat.primitives import hashes"),
        ("syncfs.store.disk", "from blake3 import blake3"),
        ("syncfs.store.disk", "import sqlite_utils"),
        ("syncfs.engine.tree.volume", "import pyfuse3"),
        ("syncfs.discovery.lan", "import netifaces"),
        ("syncfs.discovery.lan", "import socket"),
        ("syncfs.discovery.lan", "from trio import socket"),
        ("syncfs.discovery.lan", "import trio.socket as network"),
        ("syncfs.discovery.lan", "import trio\nasync def run():\n    trio.socket.socket()"),
        ("syncfs.engine.share", "import trio as t\nasync def run():\n    await t.open_tcp_stream('::1', 1)"),
        ("syncfs.engine.share", "from trio import open_tcp_listeners"),
        ("syncfs.engine.share", "import asyncio"),
        ("syncfs.control.page", "import click"),
        ("syncfs.engine.chunks.cache", "from syncfs.engine.writing import dirty"),
        ("syncfs.engine.chunks.cache", "from syncfs.engine.feeds.feed import Feed"),
        ("syncfs.engine.history.undo", "from syncfs.engine.share import Share"),
        ("syncfs.wire.session", "import time"),
        ("syncfs.model.merge", "import trio"),
    ],
)
def test_a_planted_violation_is_caught(module: str, source: str) -> None:
    assert violations(module, source)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("syncfs.cli.main", "import click\nfrom syncfs.mount import handlers\nfrom syncfs.model.ids import Stamp"),
        ("syncfs.crypto.hashing", "from blake3 import blake3\nfrom cryptography.hazmat.primitives import hashes"),
        (
            "syncfs.transport.tcp",
            "import socket\nimport trio\nasync def run():\n    await trio.open_tcp_stream('::1', 1)",
        ),
        ("syncfs.engine.share", "import trio\nasync def run():\n    async with trio.open_nursery():\n        pass"),
        ("syncfs.index.rows", "import sqlite_utils\nfrom . import schema\nfrom syncfs.wire.head import SignedHead"),
        ("syncfs.wire.head", "from .messages import Hello"),
        ("syncfs.engine.share", "from syncfs.engine.history.history import History\nfrom syncfs.engine import setup"),
        ("syncfs.engine.tree.volume", "from syncfs.engine.writing.files import Files\nfrom . import naming"),
    ],
)
def test_what_the_order_allows_passes(module: str, source: str) -> None:
    assert not violations(module, source)


def test_relative_imports_of_a_package_are_resolved_from_the_package() -> None:
    assert not violations("syncfs.model", "from .ids import Stamp", is_package=True)
    assert violations("syncfs.model", "from ..crypto import hashing", is_package=True)
