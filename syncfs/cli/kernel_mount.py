"""The kernel mount as the engine asks for it: where engine and mount layer meet."""

from pathlib import Path

import trio

from syncfs.engine.history.whole_volume import WholeVolume
from syncfs.engine.tree.owners import OwnerChoice
from syncfs.mount.options import MountOptions
from syncfs.mount.session import Mounted, serve_mount


class KernelMount:
    """Shows a volume at a directory through FUSE."""

    def __init__(self, directory: Path | str, source: str, options: MountOptions) -> None:
        self.options = options
        self.owners = OwnerChoice(options.owners == "names", *options.shown_owner)
        self.where = str(directory)
        self._source = source

    async def serve(self, volume: WholeVolume, stop: trio.Event, task_status: trio.TaskStatus[Mounted]) -> None:
        """Mount, and answer until unmounted or stopped. Raises UsageError, BusyError, SetupError."""
        await serve_mount(
            volume,
            self._source,
            self.where,
            self.options,
            stop=stop,
            task_status=task_status,
        )
