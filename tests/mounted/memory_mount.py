"""Serves a `MemoryVolume` through a real mount, in a process of its own that a test talks to.

`python -m tests.mounted.memory_mount DIR SOURCE [--options …] [--busy SECONDS]` mounts, prints a line, then reads
commands from stdin, one JSON array `[name, argument, …]` per line, and answers each with a line of JSON. It ends on
SIGTERM and when unmounted. `--busy` keeps the loop busy in steps that long, and `--beats FILE` lets a plain thread beat
into a file.
"""

import argparse
import json
import logging
import mmap
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import trio

from syncfs.mount.invalidation import Invalidator
from syncfs.mount.options import parse_options
from syncfs.mount.session import serve_mount
from tests.mounted.memory_volume import MemoryVolume

BEAT_S = 0.01
BUSY_TASKS = 4


def main() -> None:
    """Mounts and serves until the end."""
    parser = argparse.ArgumentParser()
    parser.add_argument("directory")
    parser.add_argument("source")
    parser.add_argument("--options", default="")
    parser.add_argument("--busy", type=float, default=0.0)
    parser.add_argument("--beats", type=Path)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    if arguments.beats:
        threading.Thread(target=_beat, args=(arguments.beats,), daemon=True).start()
    trio.run(_serve, arguments)
    say("ended")


async def _serve(arguments: argparse.Namespace) -> None:
    volume, stop = MemoryVolume(), trio.Event()
    watched: list[Invalidator] = []
    watch = volume.watch

    def remember(callback: Callable[[Any], None]) -> None:
        watched.append(callback.__self__)  # type: ignore[attr-defined]
        watch(callback)

    volume.watch = remember  # type: ignore[method-assign]
    async with trio.open_nursery() as nursery:

        async def serve(task_status: trio.TaskStatus[Any]) -> None:
            await serve_mount(
                volume,
                arguments.source,
                arguments.directory,
                parse_options(arguments.options),
                stop=stop,
                task_status=task_status,
            )
            nursery.cancel_scope.cancel()

        await nursery.start(serve)
        await nursery.start(_stop_on_signal, stop)
        say("mounted")
        nursery.start_soon(_answer, volume, watched)
        for _ in range(BUSY_TASKS if arguments.busy else 0):
            nursery.start_soon(_be_busy, arguments.busy)
    say({"released": volume.released, "calls": volume.calls})


async def _stop_on_signal(stop: trio.Event, task_status: trio.TaskStatus[None]) -> None:
    with trio.open_signal_receiver(signal.SIGTERM) as received:
        task_status.started()
        async for _ in received:
            stop.set()


async def _answer(volume: MemoryVolume, watched: list[Invalidator]) -> None:
    while line := await trio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True):
        name, *arguments = json.loads(line)
        match name:
            case "told":
                say(await trio.to_thread.run_sync(watched[0].wait_told, 10))
            case "drop_pages":
                ino = volume.lookup(1, arguments[0].encode()).ino
                threading.Thread(target=watched[0].notifier.inode, args=(ino, True), daemon=True).start()
                say(True)
            case "calls":
                say(volume.calls)
            case "remote_write":
                volume.remote_write(arguments[0], arguments[1].encode(), keep_times=arguments[2])
                say(True)
            case _:
                getattr(volume, name)(*arguments)
                say(True)


async def _be_busy(step: float) -> None:
    while True:
        end = time.perf_counter() + step
        while time.perf_counter() < end:
            pass
        await trio.lowlevel.checkpoint()


def _beat(path: Path) -> None:
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 8) as memory:
        while True:
            memory[:8] = time.monotonic_ns().to_bytes(8, "little")
            time.sleep(BEAT_S)


def say(what: object) -> None:
    """One line of JSON for the test."""
    print(json.dumps(what), flush=True)


if __name__ == "__main__":
    main()
