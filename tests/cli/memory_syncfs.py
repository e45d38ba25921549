"""`python -m tests.cli.memory_syncfs …`: the real command line above an engine that keeps a share in memory.

What a share holds is gone with its process; vault, background process, control socket, records and mounts are real.
MEMORY_SYNCFS chooses what the engine does: `history` (a share with a history), `broken`, `silent`, `slow`, `stuck`,
`full` (what was written cannot be stored), `hanging` (nor does the process end because of that).
"""

import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import trio

from syncfs.cli import engine, mount_helper
from syncfs.cli.home import Home
from syncfs.cli.main import main
from syncfs.control.service import ShareService
from syncfs.crypto.secrets import format_secret, new_writer_secret, parse_secret
from syncfs.crypto.vault import Vault, VaultShare
from syncfs.model.errors import NewerFormatError, SetupError
from syncfs.model.reports import CheckReport, Problem
from tests.cli.memory_tree import MemoryTree
from tests.control.services import MemoryHistory, MemoryShare


class _EndlessTree(MemoryTree):
    """A tree into which an import never ends."""

    async def setattr(self, *_: Any) -> Any:
        print("importing", flush=True)
        await trio.sleep_forever()


def create_share(home: Home, name: str, settings: dict[str, str]) -> engine.KnownShare:
    return _keep(home, name, format_secret(new_writer_secret(os.urandom)), settings)


def join_share(home: Home, secret: str, name: str, settings: dict[str, str]) -> engine.KnownShare:
    parse_secret(secret)
    return _keep(home, name, secret, settings)


def check_share(home: Home, name: str, repair: bool, rebuild: bool) -> CheckReport:
    known = engine.known_share(home, name)
    bad = home.share(known.share) / "bad"
    problems = [Problem("chunk", "c1", "chunk c1 is not what it was", repair)] if bad.exists() else []
    return CheckReport(known.share, name, 1, 1, 1, 10, problems, 0.01)


async def write_tree(home: Home, name: str, use: Callable[[Any], Awaitable[None]]) -> None:
    await use(_EndlessTree() if os.environ.get("MEMORY_SYNCFS") == "slow" else MemoryTree())


async def run_share(
    home: Path, name: str, usable: Callable[[ShareService], Awaitable[None]], plan: engine.MountPlan | None
) -> None:
    conduct = os.environ.get("MEMORY_SYNCFS", "")
    known = engine.known_share(Home(home), name)
    stop = trio.Event()

    class Share(MemoryHistory if conduct == "history" else MemoryShare):  # type: ignore[misc]
        def stop(self) -> None:
            stop.set()

        async def flush(self) -> None:
            if conduct in ("full", "hanging"):
                raise SetupError("the disk is full: free some space there")
            await trio.sleep(60 if conduct == "stuck" else 0)

    service = Share(known.share, known.name)
    service.kept = dict(known.settings)
    if conduct == "broken":
        raise NewerFormatError("the index was written by a newer syncfs: install that version")
    if conduct == "silent":
        os._exit(3)
    if conduct == "slow":
        await trio.sleep_forever()
    if conduct == "fault":
        raise RuntimeError("a fault that nobody foresaw")
    if plan is None:
        await usable(service)
        await stop.wait()
        if conduct == "hanging":
            await trio.sleep_forever()
        return
    service.mountpoint = plan.directory
    mounting = engine._mounting(plan)
    async with trio.open_nursery() as nursery:

        async def mounted(*, task_status: trio.TaskStatus[Any]) -> None:
            await mounting.serve(MemoryTree(), stop, task_status)  # type: ignore[arg-type]
            if conduct == "hanging":
                await trio.sleep_forever()
            nursery.cancel_scope.cancel()

        await nursery.start(mounted)
        await usable(service)


def _keep(home: Home, name: str, secret: str, settings: dict[str, str]) -> engine.KnownShare:
    home.prepare()
    vault = Vault.open(home.vault, os.urandom)
    vault.put_share(VaultShare(name, secret, options=dict(settings)), replace=False)
    known = engine.known_share(home, name)
    home.share(known.share).mkdir(parents=True)
    return known


if __name__ == "__main__":
    for replacement in (create_share, join_share, check_share, write_tree, run_share):
        setattr(engine, replacement.__name__, replacement)
    match Path(os.environ.get("MEMORY_SYNCFS_AS", "syncfs")).name.partition(".")[0]:
        case "mount":
            sys.exit(mount_helper.run_mount(sys.argv[1:]))
        case "umount":
            sys.exit(mount_helper.run_umount(sys.argv[1:]))
        case _:
            main()
