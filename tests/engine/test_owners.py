"""Whose files are shown, and that what is recorded stays as it was where nobody changed it."""

import os
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from syncfs.engine.opening import open_share
from syncfs.engine.setup import create_share
from syncfs.engine.share import Share
from syncfs.engine.tree.owners import Accounts, OwnerChoice, OwnerView
from syncfs.engine.tree.posix import AttributeChange, Caller
from syncfs.index.nodes import Node
from syncfs.model.ids import ROOT_NODE, DeviceId, NodeId
from syncfs.model.records import Birth, LinkRecord, NodeRecord, Owner, Times

PEER = DeviceId(b"p" * 16)
HERS = NodeId(b"n" * 16)
USERS = {"daemon": 1, "root": 0}
ACCOUNTS = Accounts(USERS.get, USERS.get, lambda uid: "daemon" if uid == 1 else "", lambda gid: "")


def view(choice: OwnerChoice) -> OwnerView:
    return OwnerView(choice, ACCOUNTS)


NODE = Node(7, HERS, uid=5001, gid=5002, user="daemon", group="nobody here")


@pytest.mark.parametrize(
    ("choice", "shown"),
    [
        (OwnerChoice(), (5001, 5002)),
        (OwnerChoice(by_name=True), (1, 5002)),
        (OwnerChoice(uid=12, gid=13), (12, 13)),
        (OwnerChoice(by_name=True, gid=13), (1, 13)),
    ],
)
def test_what_is_shown(choice: OwnerChoice, shown: tuple[int, int]) -> None:
    assert view(choice).shown(NODE) == shown
    unchanged = Owner(5001, 5002, "daemon", "nobody here")
    assert view(choice).changed(NODE, *shown) == unchanged
    assert view(choice).changed(NODE, None, shown[1]) == unchanged
    assert view(choice).changed(NODE, 99, None) == Owner(99, 5002, "", "nobody here")
    assert view(choice).changed(NODE, None, 1) == Owner(5001, 1, "daemon", "")


def test_names_are_recorded_with_what_is_made() -> None:
    assert view(OwnerChoice()).new(1, 5) == Owner(1, 5, "daemon", "")


@asynccontextmanager
async def share_with_her_folder(home: Path, choice: OwnerChoice) -> AsyncIterator[Share]:
    """A share into which a peer has put a setgid folder."""
    create_share(home, "s", {}, os.urandom)
    async with open_share(home, "s", choice) as share:
        folder = Birth(stat.S_IFDIR)
        share.index.apply(
            [
                NodeRecord(1, 1, HERS, folder, 0o2775, Owner(5001, 5002, "daemon", "team"), Times(1, 1), {}),
                LinkRecord(2, 1, HERS, HERS, ROOT_NODE, b"hers"),
            ],
            PEER,
        )
        yield share


async def test_what_cannot_be_shown_travels_on(tmp_path: Path) -> None:
    async with share_with_her_folder(tmp_path, OwnerChoice(uid=12, gid=13)) as share:
        hers = share.volume.lookup(1, b"hers")
        assert (hers.uid, hers.gid) == (12, 13)
        await share.volume.setattr(hers.ino, AttributeChange(mode=0o2770), None)
        await share.volume.setattr(hers.ino, AttributeChange(uid=12, gid=13), None)
        node = share.index.nodes.must(hers.ino)
        assert (node.mode, node.uid, node.gid, node.user, node.group) == (0o2770, 5001, 5002, "daemon", "team")
        await share.volume.setattr(hers.ino, AttributeChange(gid=14), None)
        node = share.index.nodes.must(hers.ino)
        assert (node.uid, node.gid, node.user) == (5001, 14, "daemon")


async def test_what_is_made_in_her_setgid_folder_gets_her_group(tmp_path: Path) -> None:
    async with share_with_her_folder(tmp_path, OwnerChoice(by_name=True)) as share:
        hers = share.volume.lookup(1, b"hers")
        assert (hers.uid, hers.gid) == (1, 5002)
        made = share.volume.mkdir(hers.ino, b"below", 0o755, Caller(0, 0))
        node = share.index.nodes.must(made.ino)
        assert (node.mode, node.uid, node.gid, node.user, node.group) == (0o2755, 0, 5002, "root", "team")
