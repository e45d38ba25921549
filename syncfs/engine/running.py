"""Running a share: with the network and perhaps a mount, or offline for one job."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol

import trio

from syncfs.engine.history.whole_volume import WholeVolume
from syncfs.engine.opening import open_share
from syncfs.engine.service import RunningShare
from syncfs.engine.tree.owners import OwnerChoice
from syncfs.engine.tree.volume import Volume
from syncfs.transport.streams import Network
from syncfs.transport.tcp import TcpNetwork


class Mount(Protocol):
    """What shows a volume somewhere until it is told to stop, or is taken away."""

    owners: OwnerChoice
    where: str

    async def serve(self, volume: WholeVolume, stop: trio.Event, task_status: trio.TaskStatus[object]) -> None:
        """Show the volume; started once it can be used."""


async def run_share(
    home: Path,
    name: str,
    usable: Callable[[RunningShare], Awaitable[None]],
    mount: Mount | None,
    network: Network | None = None,
) -> None:
    """Run a share until its service is told to stop or its mount ends; `usable` is awaited once it can be used.

    Raises UnknownShareError, BusyError, SetupError, DamageError, NewerFormatError.
    """
    async with open_share(home, name, None if mount is None else mount.owners) as share:
        await share.go_online(network or TcpNetwork())
        service = RunningShare(share, None if mount is None else mount.where)
        async with trio.open_nursery() as nursery:
            if mount is not None:
                await share.first_tree()

                async def show(*, task_status: trio.TaskStatus[object]) -> None:
                    await mount.serve(share.shown, share.stopping, task_status)
                    share.stop()

                await nursery.start(show)
            await usable(service)
            await share.stopping.wait()


async def with_volume(home: Path, name: str, use: Callable[[Volume], Awaitable[None]]) -> None:
    """Open a share that nobody runs, without network and mount; what `use` did is durable when this returns."""
    async with open_share(home, name) as share:
        await use(share.volume)
        await share.flush()
