"""Server and client together over a real socket, and callers that do everything wrong."""

import json
import socket as socketlib
import stat
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest
import trio
import trio.testing

from syncfs.control import client, commands, server
from syncfs.control.client import Client, connect
from syncfs.control.commands import Nothing
from syncfs.control.server import serve_control
from syncfs.model import errors
from syncfs.model.errors import BusyError, SilentError, UnavailableError, UsageError
from syncfs.model.reports import CheckReport
from tests.control.services import MemoryHistory, MemoryShare

T = TypeVar("T")


@contextmanager
def listening(path: str) -> Iterator[socketlib.socket]:
    """A socket whose callers wait in vain."""
    with socketlib.socket(socketlib.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        yield listener


@asynccontextmanager
async def serving(path: Path, service: object) -> AsyncIterator[Path]:
    async with trio.open_nursery() as nursery:
        await nursery.start(serve_control, path, service)
        yield path
        nursery.cancel_scope.cancel()


async def ask(path: Path, question: Callable[[Client], T]) -> T:
    """Ask with the blocking client, in a thread, as a command does in its process."""

    def in_thread() -> T:
        with connect(path, "photos") as client:
            return question(client)

    return await trio.to_thread.run_sync(in_thread)


async def raw(path: Path, data: bytes) -> list[dict[str, object]]:
    """Send these bytes and hang up; return the lines that come back."""
    stream = await trio.open_unix_socket(str(path))
    async with stream:
        await stream.send_all(data)
        await stream.send_eof()
        received = bytearray()
        async for part in stream:
            received += part
    return [json.loads(line) for line in received.splitlines()]


@pytest.fixture
def socket(tmp_path: Path) -> Path:
    return tmp_path / "share.sock"


async def test_commands_reach_the_share(socket: Path) -> None:
    share = MemoryHistory()
    async with serving(socket, share):
        assert await ask(socket, lambda client: client.call(commands.STATUS, Nothing())) == share.status()
        assert await ask(socket, lambda client: client.call(commands.PEERS, Nothing())) == share.peers()
        assert await ask(socket, lambda client: client.call(commands.TRANSFERS, commands.TransfersArguments())) == (
            share.transfers()
        )
        await ask(socket, lambda client: client.call(commands.FLUSH, Nothing()))
        await ask(socket, lambda client: client.call(commands.STOP, Nothing()))
    assert (share.flushed, share.stopped) == (1, True)


async def test_names_that_are_not_utf8_cross(socket: Path) -> None:
    async with serving(socket, MemoryHistory()):
        found = await ask(socket, lambda client: client.call(commands.VERSIONS, commands.PathArguments(b"\xff")))
    assert [version.id for version in found] == ["v9"]


async def test_settings_are_checked_and_kept(socket: Path) -> None:
    share = MemoryShare()

    def config(key: str | None = None, value: str | None = None) -> Callable[[Client], commands.ConfigResult]:
        return lambda client: client.call(commands.CONFIG, commands.ConfigArguments(key, value))

    async with serving(socket, share):
        assert (await ask(socket, config("discovery", "LAN"))).settings == {"discovery": "lan"}
        assert not (await ask(socket, config("listen", "0.0.0.0:04000"))).applied
        assert (await ask(socket, config())).settings == {"discovery": "lan", "listen": "0.0.0.0:4000"}
        with pytest.raises(UsageError, match="choose from listen, discovery, peers"):
            await ask(socket, config("colour"))
        with pytest.raises(UsageError, match="no port"):
            await ask(socket, config("listen", "here:there"))
    assert share.kept == {"discovery": "lan", "listen": "0.0.0.0:4000"}


async def test_errors_keep_their_class_and_sentence(socket: Path) -> None:
    class Failing(MemoryShare):
        raised: Exception = RuntimeError("secret detail")

        async def flush(self) -> None:
            raise self.raised

    share = Failing()
    async with serving(socket, share):
        for kind in (errors.NewerFormatError, errors.RefusedError, errors.SetupError):
            share.raised = kind("do this")
            with pytest.raises(kind, match=r"^do this$"):
                await ask(socket, lambda client: client.call(commands.FLUSH, Nothing()))
        share.raised = errors.PosixError(21)
        with pytest.raises(UsageError, match="Is a directory"):
            await ask(socket, lambda client: client.call(commands.FLUSH, Nothing()))
        share.raised = RuntimeError("secret detail")
        with pytest.raises(errors.SyncfsError, match="its log has the details"):
            await ask(socket, lambda client: client.call(commands.FLUSH, Nothing()))


async def test_only_what_the_share_can_do_is_served(socket: Path) -> None:
    assert "versions" in commands.available(MemoryHistory())
    async with serving(socket, MemoryShare()):
        with pytest.raises(UsageError, match="knows no command 'versions'"):
            await ask(socket, lambda client: client.call(commands.VERSIONS, commands.PathArguments(b"a.txt")))


async def test_watching_streams_until_the_caller_leaves(socket: Path) -> None:
    def watch(client: Client) -> int:
        reports = client.stream(commands.TRANSFERS, commands.TransfersArguments(watch=True, interval=0.0), 10)
        return sum(1 for _, report in zip(range(3), reports, strict=False) if report.transfers)

    async with serving(socket, MemoryShare()):
        assert await ask(socket, watch) == 3
        assert (await ask(socket, lambda client: client.call(commands.STATUS, Nothing()))).peers == 1


@pytest.mark.parametrize(
    "data",
    [
        b"\n",
        b"hello\n",
        b"[]\n",
        b"\xff\xfe\n",
        b'{"command": 7}\n',
        b'{"command": "status", "surprise": 1}\n',
        b'{"command": "nonsense"}\n',
        b'{"command": "status", "arguments": {"x": 1}}\n',
        b'{"command": "config", "arguments": []}\n',
        b'{"command": "config", "arguments": {"key": 7}}\n',
        b"[" * 10_000 + b"\n",
        b"x" * (server.MAX_REQUEST + 100_000),
    ],
)
async def test_nonsense_gets_an_error_and_hurts_nobody(socket: Path, data: bytes) -> None:
    async with serving(socket, MemoryShare()):
        try:
            answers = await raw(socket, data)
        except trio.BrokenResourceError:
            answers = []  # hung up on while still talking
        assert all(answer["error"]["type"] == "UsageError" for answer in answers)  # type: ignore[index]
        assert answers or len(data) > server.MAX_REQUEST
        assert (await ask(socket, lambda client: client.call(commands.STATUS, Nothing()))).name == "photos"


async def test_half_a_request_and_silence_are_hung_up_on(socket: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with serving(socket, MemoryShare()):
        stream = await trio.open_unix_socket(str(socket))
        await stream.send_all(b'{"command": ')
        assert await stream.receive_some() == b""
        idle = await trio.open_unix_socket(str(socket))
        assert await idle.receive_some() == b""


async def test_a_caller_that_does_not_read_is_dropped(socket: Path, autojump_clock: trio.testing.MockClock) -> None:
    class Talkative(MemoryShare):
        def settings(self) -> dict[str, str]:
            return {"peers": "x" * 2_000_000}

    async with serving(socket, Talkative()):
        deaf = await trio.open_unix_socket(str(socket))
        await deaf.send_all(b'{"command": "config"}\n')
        with pytest.raises(trio.BrokenResourceError):
            while True:  # the server leaves its end once its patience is over
                await deaf.send_all(b"\n")
                await trio.sleep(1)


async def test_a_share_that_does_not_answer_is_not_waited_for(socket: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "LIFE_SECONDS", 0.01)
    with listening(str(socket)) as deaf:
        for timeout in (None, 0.01):
            with pytest.raises(SilentError):
                await ask(socket, lambda client, timeout=timeout: client.call(commands.COLLECT, Nothing(), timeout))
        deaf.setblocking(False)
        asked = [json.loads(deaf.accept()[0].recv(10_000)) for _ in range(2)]
        assert [request["command"] for request in asked] == ["config", "gc"], "it is not asked to work first"


async def test_a_share_that_works_for_long_is_waited_for(socket: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Working(MemoryShare):
        asked = 0
        done = trio.Event()

        def settings(self) -> dict[str, str]:
            self.asked += 1
            if self.asked == 4:
                self.done.set()
            return {}

        async def check(self, repair: bool) -> CheckReport:
            await self.done.wait()
            return await super().check(repair)

    monkeypatch.setattr(client, "ANSWER_SECONDS", 0.01)
    async with serving(socket, Working()):
        report = await ask(socket, lambda client: client.call(commands.CHECK, commands.CheckArguments(), None))
    assert report.clean


async def test_too_many_callers_are_told_so(socket: Path) -> None:
    async with serving(socket, MemoryShare()):
        crowd = [await trio.open_unix_socket(str(socket)) for _ in range(server.MAX_CALLERS)]
        for stream in crowd:
            await stream.send_all(b'{"command": "status"}\n')
            assert b'"ok"' in await stream.receive_some()
        with pytest.raises(BusyError, match="too many callers"):
            await ask(socket, lambda client: client.call(commands.STATUS, Nothing()))
        await crowd[0].aclose()
        await trio.testing.wait_all_tasks_blocked()
        assert (await ask(socket, lambda client: client.call(commands.STATUS, Nothing()))).name == "photos"


async def test_what_is_said_before_hanging_up_is_heard(socket: Path) -> None:
    refusal = b'{"error": {"type": "BusyError", "message": "too many callers at once"}}\n'

    def refuse(read: Callable[[socketlib.socket], object]) -> None:
        with listener.accept()[0] as caller:
            caller.sendall(refusal)
            read(caller)

    def before_the_question(client: Client) -> None:
        refuse(lambda caller: None)
        client.call(commands.STATUS, Nothing())

    with listening(str(socket)) as listener:
        with pytest.raises(BusyError, match="too many callers"):
            await ask(socket, before_the_question)
        async with trio.open_nursery() as nursery:
            looks_only = partial(refuse, lambda caller: caller.recv(1, socketlib.MSG_PEEK))
            nursery.start_soon(trio.to_thread.run_sync, looks_only)
            with pytest.raises(BusyError, match="too many callers"):
                await ask(socket, lambda client: client.call(commands.STATUS, Nothing()))


async def test_hanging_up_without_a_word_is_told(socket: Path) -> None:
    def hang_up(client: Client) -> None:
        listener.accept()[0].close()
        client.call(commands.STATUS, Nothing())

    with listening(str(socket)) as listener:
        with pytest.raises(UnavailableError, match="ended before it had answered"):
            await ask(socket, hang_up)


async def test_the_socket_is_its_owners_alone(socket: Path) -> None:
    async with serving(socket, MemoryShare()):
        assert stat.S_IMODE((await trio.Path(socket).stat()).st_mode) == 0o600
        with pytest.raises(BusyError, match="another process listens"):
            await serve_control(socket, MemoryShare())
        assert (await ask(socket, lambda client: client.call(commands.STATUS, Nothing()))).name == "photos"
    assert not await trio.Path(socket).exists()


async def test_a_socket_left_behind_is_replaced_and_paths_may_be_long(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    path = deep / "share.sock"
    path.write_text("")  # what nobody listens on
    async with serving(path, MemoryShare()):
        assert (await ask(path, lambda client: client.call(commands.STATUS, Nothing()))).name == "photos"


async def test_a_share_that_does_not_run_is_named(socket: Path) -> None:
    with pytest.raises(UnavailableError, match="'photos' is not running: start it with 'syncfs mount photos DIR'"):
        await ask(socket, lambda client: client.call(commands.STATUS, Nothing()))
