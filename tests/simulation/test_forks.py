"""A device that signs two histories: copies of one home that both write, and one that lies."""

import os

import pytest

from syncfs.crypto.sealing import SEGMENT_NONCE_BYTES
from syncfs.model.errors import PosixError
from syncfs.model.ids import ROOT_NODE, Address
from syncfs.model.records import Birth, LinkRecord, NodeRecord, Record
from syncfs.wire.head import SegmentRef, SignedHead, decode_head, next_mark, sign_head
from syncfs.wire.messages import Announce
from syncfs.wire.segment import encode_segment
from tests.simulation.stage import Stage, play

HERE, TWIN, COPY, OTHER = range(4)


def test_of_two_copies_of_a_home_the_second_to_be_heard_is_refused_and_told() -> None:
    async def story(stage: Stage) -> None:
        await stage.begin(HERE, TWIN)
        stage.mkdir(TWIN, "common")
        await stage.level(HERE, TWIN)
        await stage.nodes[TWIN].stop()
        stage.nodes[COPY].take_over(stage.nodes[TWIN].home)
        stage.network.partition(["n1"], ["n2"], ["n3"])
        await stage.begin(TWIN, COPY)
        stage.mkdir(TWIN, "by the twin")
        stage.mkdir(COPY, "by the copy")
        await stage.share(COPY).flush()
        stage.network.partition(["n1", "n2"], ["n3"])
        await stage.level(HERE, TWIN)
        await stage.nodes[TWIN].stop()
        stage.network.heal()
        await stage.talk()

        assert await stage.names(HERE) == ["by the twin", "common"]
        assert "n2 has signed two different histories" in stage.share(HERE).replicator.forks.reasons[0]
        assert "another computer writes as this device" in stage.share(COPY).replicator.forks.reasons[0]
        for again in (False, True):
            with pytest.raises(PosixError):
                stage.mkdir(COPY, f"later {again}")
            await stage.nodes[COPY].stop()
            await stage.begin(COPY)

        await stage.nodes[COPY].stop()
        await stage.begin(TWIN)
        stage.mkdir(TWIN, "goes on")
        await stage.level(HERE, TWIN)
        assert await stage.names(HERE) == ["by the twin", "common", "goes on"]
        await stage.nodes[HERE].stop()
        await stage.begin(HERE)
        assert stage.share(HERE).replicator.forks.reasons

    play(3, story)


def test_a_longer_second_history_is_refused_whole() -> None:
    async def story(stage: Stage) -> None:
        await stage.begin(HERE, TWIN)
        stage.mkdir(TWIN, "common")
        await stage.level(HERE, TWIN)
        await stage.nodes[TWIN].stop()
        stage.nodes[COPY].take_over(stage.nodes[TWIN].home)
        stage.network.partition(["n1", "n2"], ["n3"])
        await stage.begin(TWIN, COPY)
        stage.mkdir(TWIN, "by the twin")
        await stage.level(HERE, TWIN)
        for number in range(100):
            stage.mkdir(COPY, f"by the copy {number}")
            await stage.share(COPY).flush()
        feed = stage.share(COPY).feed
        assert feed is not None
        await feed.age()
        feed.commit()
        await stage.nodes[TWIN].stop()
        stage.network.heal()
        await stage.talk()
        assert await stage.names(HERE) == ["by the twin", "common"]
        assert stage.share(HERE).replicator.forks.reasons
        assert stage.share(COPY).replicator.forks.reasons

    play(3, story)


def test_a_liar_is_found_when_those_meet_to_whom_it_said_different_things() -> None:
    async def story(stage: Stage) -> None:
        await stage.begin(HERE, TWIN, OTHER)
        stage.mkdir(TWIN, "common")
        await stage.level(HERE, TWIN, OTHER)
        stage.network.partition(["n1"], ["n2"], ["n4"])
        for number, name in ((HERE, b"for one"), (OTHER, b"for the other")):
            share = stage.share(number)
            head, segment = lie(stage, name)
            link = next(link for link in share.peers.links if link.peer.name == "n2") if share.peers else None
            assert link is not None
            await share.replicator.announced(link, Announce([head.encoded], [], [segment]))
        assert (await stage.names(HERE), await stage.names(OTHER)) == (
            ["common", "for one"], ["common", "for the other"],
        )  # fmt: skip
        stage.network.partition(["n1", "n4"], ["n2"])
        stage.mkdir(HERE, "honest")
        await stage.talk()
        assert "honest" in await stage.names(OTHER)
        assert stage.share(HERE).replicator.forks.reasons
        assert stage.share(OTHER).replicator.forks.reasons
        assert (await stage.names(HERE), await stage.names(OTHER)) == (
            ["common", "for one", "honest"], ["common", "for the other", "honest"],
        )  # fmt: skip

    def lie(stage: Stage, name: bytes) -> tuple[SignedHead, tuple[bytes, bytes]]:
        twin = stage.share(TWIN)
        read, identity, node = twin.member.keys.read, twin.member.identity, os.urandom(16)
        assert read is not None
        records: list[Record] = [
            NodeRecord(10**6, 0, node, Birth(0o040000), 0o755),
            LinkRecord(10**6 + 1, 0, node, node, ROOT_NODE, name),
        ]
        found = twin.index.feeds.head(identity.id)
        assert found is not None
        before = decode_head(found[0])
        first = before.sequence + 1
        sealed = encode_segment(read, identity.id, first, records, [], [], os.urandom(SEGMENT_NONCE_BYTES))
        mark = next_mark(before.segments[-1].mark, sealed.address)
        ref = SegmentRef(first, sealed.last, sealed.address, len(sealed.data), mark)
        return sign_head(identity, sealed.last, [*before.segments, ref], 0), (Address(sealed.address), sealed.data)

    play(4, story)
