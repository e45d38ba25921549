"""Modified clients of ours: what a reader signs, and what a stranger says, reaches nobody's tree."""

import os
import re
import socket
import stat
import struct
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import trio
import trio.testing

from syncfs.crypto.certificates import Certificate, encode_certificate, issue
from syncfs.crypto.identity import DeviceIdentity
from syncfs.crypto.keys import Role, ShareKeys, derive_keys
from syncfs.crypto.sealing import SEGMENT_NONCE_BYTES
from syncfs.crypto.secrets import parse_secret
from syncfs.model.errors import SyncfsError
from syncfs.model.ids import ROOT_NODE
from syncfs.model.records import Birth, LinkRecord, NodeRecord, Owner, Record, Times
from syncfs.transport.link import Link, run_link
from syncfs.transport.tcp import open_tcp
from syncfs.wire.credentials import Credentials
from syncfs.wire.head import SegmentRef, sign_head
from syncfs.wire.messages import Announce, Get, Message
from syncfs.wire.segment import encode_segment
from tests.end_to_end.conftest import Group
from tests.end_to_end.peer import SHARE, Peer, until

pytestmark = [pytest.mark.fuse, pytest.mark.root]


class Rogue:
    """A client that holds a reader's keys of the share and talks as it likes."""

    def __init__(self, group: Group) -> None:
        writer = derive_keys(parse_secret(group.secrets["read_write"]))
        reader = derive_keys(parse_secret(group.secrets["read_only"]))
        # What an honest reader learns from any peer.
        self.keys: ShareKeys = replace(reader, share_public=writer.share_public, salt=writer.salt)
        self.identity = DeviceIdentity(os.urandom(32))
        self.port = group.ports[0]

    def certificate_by_itself(self, role: Role = Role.WRITER) -> Certificate:
        """A certificate for this device that it has signed itself."""
        own = replace(self.keys, share_private=os.urandom(32))
        return issue(own, self.identity.public, role, "rogue", int(time.time()), 0, os.urandom)

    def forged_file(self, name: bytes) -> tuple[bytes, list[tuple[bytes, bytes]]]:
        """A head and its segment, signed by this device, that put a file into the root."""
        assert self.keys.read is not None
        node, now = os.urandom(16), time.time_ns()
        records: list[Record] = [
            NodeRecord(2**40, now, node, Birth(stat.S_IFREG), 0o644, Owner(0, 0), Times(now, now), {}),
            LinkRecord(2**40 + 1, now, node, node, ROOT_NODE, name),
        ]
        device = self.identity.id
        sealed = encode_segment(
            self.keys.read, device, 1, records, [], [], os.urandom(SEGMENT_NONCE_BYTES), last=len(records)
        )
        ref = SegmentRef(1, len(records), sealed.address, len(sealed.data))
        head = sign_head(self.identity, len(records), [ref], now // 10**9)
        return head.encoded, [(sealed.address, sealed.data)]

    async def talk(self, certificate: Certificate | None, say: Callable[[Link], None], raw: bytes = b"") -> str:
        """Link with the first peer, say something, and hear for a second how it takes that.

        `raw` goes onto the connection as it is, where a frame should be.
        """

        async def serve(link: Link, message: Message) -> tuple[Message, Sequence[bytes]] | None:
            return None

        async def speak(link: Link) -> None:
            say(link)
            if raw:
                await link.request(Get([os.urandom(32)]))  # once this is answered, both sides have let each other in
                await trio.testing.wait_all_tasks_blocked()  # no frame of ours is half sent
                await stream.send_all(raw)
            await trio.sleep(1)
            link.close("that was all")

        who = Credentials(self.keys, self.identity, certificate, "rogue", 0, lambda: int(time.time()))
        stream = await open_tcp("127.0.0.1", self.port, 5)
        try:
            return await run_link(stream, who, True, serve, speak, address="there", path="lan")
        except SyncfsError as error:
            return str(error)


def unharmed(one: Peer, other: Peer) -> None:
    """Two honest peers show what they showed, and still tell each other what changes."""
    (one / "after").write_text("still works")
    until(lambda: (other / "after").read_text() == "still works", "honest peers still work")
    for each in (one, other):
        assert sorted(path.name for path in each.mount.iterdir()) == ["after", "honest"]
    (one / "after").unlink()
    until(lambda: not (other / "after").exists(), "deletions still arrive")


def test_what_a_reader_signs_is_refused(group: Group) -> None:
    first, second = group.add("first"), group.add("second")
    (first / "honest").write_text("1")
    until((second / "honest").exists, "the file arrives")
    rogue = Rogue(group)
    head, segments = rogue.forged_file(b"forged")
    claims = {
        "no certificate": [],
        "a certificate signed by itself": [encode_certificate(rogue.certificate_by_itself())],
        "a reader's certificate signed by itself": [encode_certificate(rogue.certificate_by_itself(Role.READER))],
    }
    for what, certificates in claims.items():
        announcement = Announce([head], certificates, segments)
        trio.run(rogue.talk, None, lambda link: link.post(announcement))  # noqa: B023
        unharmed(first, second)
        assert any("refused" in reason for reason in first.status()["reasons"]), (what, first.status())
    assert "refused" in first.log()


def test_a_reader_that_claims_to_be_a_writer_is_hung_up_on(group: Group) -> None:
    first, second = group.add("first"), group.add("second")
    (first / "honest").write_text("1")
    until((second / "honest").exists, "the file arrives")
    rogue = Rogue(group)
    opened: list[Link] = []
    trio.run(rogue.talk, rogue.certificate_by_itself(), opened.append)
    unharmed(first, second)
    assert first.status()["peers"] == 1


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (struct.pack(">I", 2**31) + bytes(1000), f"a frame of {2**31} bytes"),
        (struct.pack(">I", 1000) + bytes(1000), "damaged or forged"),
    ],
    ids=["an oversized frame", "garbage"],
)
def test_a_member_that_breaks_the_protocol_is_hung_up_on_and_named(group: Group, raw: bytes, told: str) -> None:
    first, second = group.add("first"), group.add("second")
    (first / "honest").write_text("1")
    until((second / "honest").exists, "the file arrives")
    trio.run(Rogue(group).talk, None, lambda link: None, raw)
    unharmed(first, second)
    status = first.status()
    assert any("rogue" in reason and told in reason for reason in status["reasons"]), (
        status["reasons"],
        first.log()[-1500:],
    )
    assert (status["peers"], told in first.log()) == (1, True)


@pytest.mark.parametrize("what", ["garbage", "an oversized frame", "silence", "http"])
def test_strangers_get_no_answer_and_harm_nothing(group: Group, what: str) -> None:
    first, second = group.add("first"), group.add("second")
    (first / "honest").write_text("1")
    until((second / "honest").exists, "the file arrives")
    said = {
        "garbage": os.urandom(100_000),
        "an oversized frame": struct.pack(">I", 2**31) + bytes(1000),
        "silence": b"",
        "http": b"GET / HTTP/1.1\r\nHost: there\r\n\r\n",
    }[what]
    with socket.create_connection(("127.0.0.1", group.ports[0]), 5) as stranger:
        stranger.settimeout(15)
        heard = b""
        try:
            stranger.sendall(said)
            if not said:
                stranger.shutdown(socket.SHUT_WR)
            heard = stranger.recv(100)
        except ConnectionError:
            heard = b""
    assert heard == b""
    unharmed(first, second)
    told = {"silence": "without a goodbye", "http": "did not finish the handshake"}.get(what, "does not speak syncfs")
    until(lambda: told in first.log(), "the log says why")


def test_a_member_of_another_share_is_refused_and_told_why(group: Group, tmp_path: Path) -> None:
    first = group.add("first")
    other = Group(tmp_path / "other", group.stack)
    stranger = other.add("stranger", options="")
    stranger.good("config", "photos", "peers", f"127.0.0.1:{group.ports[0]}")
    stranger.start()
    until(lambda: any("last try" in reason for reason in stranger.status()["reasons"]), "it says what went wrong")
    assert (first.status()["peers"], stranger.status()["peers"]) == (0, 0)
    reason = " ".join(stranger.status()["reasons"])
    assert "it serves another share" in reason, reason
    assert "does not know this share's secret" in first.log()


@pytest.mark.parametrize("what", ["garbage", "http"])
def test_status_names_a_fixed_peer_that_is_no_syncfs(group: Group, what: str) -> None:
    first = group.add("first", options="")
    said = {"garbage": os.urandom(5000), "http": b"HTTP/1.1 400 Bad Request\r\n\r\n"}[what]
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor() as beside:
        port = server.getsockname()[1]

        def answer() -> None:
            called, _ = server.accept()
            with called:
                called.settimeout(15)
                called.sendall(said)
                called.shutdown(socket.SHUT_WR)
                while called.recv(1000):  # until it hangs up
                    pass

        answered = beside.submit(answer)
        first.good("config", SHARE, "peers", f"127.0.0.1:{port}")
        first.start()
        answered.result()
        wanted = re.compile(f"127.0.0.1:{port}: the .* (is no|does not speak) syncfs")
        until(lambda: any(map(wanted.search, first.status()["reasons"])), "it says what it met")
