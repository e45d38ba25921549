"""When peers were last connected is told, whatever their role and however long ago."""

from datetime import timedelta
from pathlib import Path

import pytest

from syncfs.engine.replication import meetings
from syncfs.engine.service import RunningShare
from syncfs.model.errors import SetupError
from syncfs.model.reports import PeerReport
from tests.engine.nodes import Nodes, share_of, tell, write
from tests.simulation.node import Node


def peers_of(node: Node) -> dict[str, PeerReport]:
    return {peer.name: peer for peer in RunningShare(share_of(node), None).peers()}


def test_absent_peers_of_every_role_are_listed_with_their_time(tmp_path: Path) -> None:
    async def story(nodes: Nodes) -> None:
        one, *others = [await nodes.add(role) for role in ("writer", "writer", "reader", "store")]
        await write(others[0], "f", b"so that it has a feed")
        await nodes.rest(lambda: sum(peer.connected for peer in peers_of(one).values()) == 3)
        ended = one.computer.seconds()
        for other in others:
            await nodes.away(other)
        await nodes.rest(lambda: not any(peer.connected for peer in peers_of(one).values()))
        one.skew += 86_400
        before = peers_of(one)
        assert {name: peer.role for name, peer in before.items()} == {"n2": "writer", "n3": "reader", "n4": "store"}
        for peer in before.values():
            assert peer.seen is not None
            assert abs(peer.seen.timestamp() - ended) < 60
        await nodes.restart(one)
        assert peers_of(one) == before
        await nodes.back(others[2])
        await nodes.rest(lambda: peers_of(one)["n4"].connected)
        assert before["n4"].seen is not None
        await nodes.away(others[2])
        await nodes.rest(lambda: not peers_of(one)["n4"].connected)
        seen = peers_of(one)["n4"].seen
        assert seen is not None and seen - before["n4"].seen >= timedelta(days=1)

    tell(tmp_path, story)


def test_a_device_that_is_known_from_others_has_no_time(tmp_path: Path) -> None:
    async def story(nodes: Nodes) -> None:
        one, two = await nodes.add(), await nodes.add()
        await write(one, "f", b"told")
        await nodes.rest()
        await nodes.away(one)
        three = await nodes.add()
        await nodes.rest(lambda: "n1" in peers_of(three))
        assert (peers_of(three)["n1"].role, peers_of(three)["n1"].seen) == ("writer", None)
        assert peers_of(two)["n1"].seen is not None

    tell(tmp_path, story)


def test_a_disk_that_keeps_no_meeting_parts_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(nodes: Nodes) -> None:
        one = await nodes.add()

        def full(key: str, value: bytes) -> None:
            raise SetupError("the disk is full")

        monkeypatch.setattr(share_of(one).index.feeds, "set_text", full)
        two = await nodes.add("store")
        await nodes.rest(lambda: "n2" in peers_of(one))
        await nodes.away(two)
        await nodes.rest(lambda: not peers_of(one)["n2"].connected)
        assert peers_of(one)["n2"].seen is not None

    tell(tmp_path, story)


def test_the_oldest_meetings_make_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meetings, "MAX_MEETINGS", 2)

    async def story(nodes: Nodes) -> None:
        one = await nodes.add()
        for name in ("n2", "n3", "n4"):
            other = await nodes.add("store")
            await nodes.rest(lambda: name in peers_of(one))  # noqa: B023 - called before it changes
            await nodes.away(other)
            await nodes.rest(lambda: not peers_of(one)[name].connected)  # noqa: B023
            one.skew += 60
        assert peers_of(one).keys() == {"n3", "n4"}
        await nodes.restart(one)
        assert peers_of(one).keys() == {"n3", "n4"}

    tell(tmp_path, story)
