"""How fast a link is over real TCP between two processes on this machine; run by hand: python -m bench.wire

Prints MB/s of a sequential read (Get of 1 MiB chunks, several in flight) and requests per second of small Gets, each as
best and median of some repetitions, with the CPU time of both processes.
"""

import multiprocessing
import os
import secrets
import statistics
import time
from collections.abc import Awaitable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path

import click
import trio

from syncfs.crypto.certificates import issue
from syncfs.crypto.identity import new_identity
from syncfs.crypto.keys import Role, ShareKeys, derive_keys
from syncfs.crypto.secrets import Secret, new_writer_secret
from syncfs.transport.link import Link, run_link
from syncfs.transport.listener import accept_links
from syncfs.transport.streams import local_port
from syncfs.transport.tcp import listen_tcp, open_tcp
from syncfs.wire.credentials import Credentials
from syncfs.wire.messages import Chunks, Get, Message
from syncfs.wire.session import Priority

CHUNK = 1 << 20
SMALL = 4096


def credentials(keys: ShareKeys, name: str) -> Credentials:
    """Credentials of a new device that may write."""
    identity = new_identity(secrets.token_bytes)
    certificate = issue(keys, identity.public, Role.WRITER, name, int(time.time()), 0, secrets.token_bytes)
    return Credentials(keys, identity, certificate, name, 0, lambda: int(time.time()))


def serve_process(secret: Secret, pipe: Connection) -> None:
    """The side that has the chunks: the first byte of an address tells whether a large or a small one is meant."""
    large, small = secrets.token_bytes(CHUNK), secrets.token_bytes(SMALL)

    async def serve(_: Link, message: Message) -> tuple[Message, Sequence[bytes]]:
        assert isinstance(message, Get)
        return Chunks(message.addresses), [large if address[0] else small for address in message.addresses]

    async def main() -> None:
        ours = credentials(derive_keys(secret), "server")
        listeners = await listen_tcp("127.0.0.1", 0)
        pipe.send(local_port(listeners))

        def ended(address: str, error: Exception) -> None:
            print(f"{address}: {error}")

        await accept_links(listeners, lambda: ours, serve, lambda link: None, ended)

    trio.run(main)


async def ask(link: Link, first: int, count: int, width: int) -> None:
    """`count` Gets of one chunk each, `width` of them in flight."""
    left = count

    async def worker() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            address = bytes([first]) + secrets.token_bytes(31)
            await link.request(Get([address]), priority=Priority.URGENT, timeout=30)

    async with trio.open_nursery() as nursery:
        for _ in range(width):
            nursery.start_soon(worker)


async def measure(link: Link, rounds: int, pid: int) -> None:
    """All rows of the table."""
    cases: list[tuple[str, int, int, int, str, float]] = [
        (f"sequential read, {width} in flight", 1, 400, width, "MB/s", CHUNK / 1e6) for width in (1, 2, 4, 8)
    ] + [(f"small Gets, {width} in flight", 0, 4000, width, "requests/s", 1.0) for width in (1, 8, 64)]
    print(f"{'case':34} {'best':>8} {'median':>8} {'':12} CPU per unit, asking / serving")
    for name, first, count, width, unit, scale in cases:
        await ask(link, first, count // 4, width)
        rates, cpu_here, cpu_there = [], 0.0, 0.0
        for _ in range(rounds):
            here, there, started = time.process_time(), cpu_of(pid), time.perf_counter()
            await ask(link, first, count, width)
            rates.append(count * scale / (time.perf_counter() - started))
            cpu_here += time.process_time() - here
            cpu_there += cpu_of(pid) - there
        per = 1e6 / (rounds * count * scale)
        print(
            f"{name:34} {max(rates):8.0f} {statistics.median(rates):8.0f} {unit:12} "
            f"{cpu_here * per:.0f} / {cpu_there * per:.0f} us"
        )


def cpu_of(pid: int) -> float:
    """Seconds of CPU that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def client(secret: Secret, port: int, rounds: int, pid: int) -> None:
    """The side that asks."""

    async def nothing(_: Link, message: Message) -> None:
        return None

    def opened(link: Link) -> Awaitable[None]:
        async def work() -> None:
            await measure(link, rounds, pid)
            link.close("done")

        return work()

    stream = await open_tcp("127.0.0.1", port, 5)
    ours = credentials(derive_keys(secret), "client")
    await run_link(stream, ours, True, nothing, opened, address=f"127.0.0.1:{port}", path="lan")


@click.command()
@click.option("--rounds", default=5, show_default=True, help="Repetitions of each case.")
def main(rounds: int) -> None:
    """Measure a link between two processes over loopback TCP."""
    secret = new_writer_secret(secrets.token_bytes)
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve_process, args=(secret, theirs), daemon=True)
    server.start()
    try:
        assert server.pid is not None
        trio.run(client, secret, ours.recv(), rounds, server.pid)
    finally:
        server.kill()
        server.join()


if __name__ == "__main__":
    main()
