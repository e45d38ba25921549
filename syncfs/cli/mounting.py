"""Starting and ending a share: mount, serve, umount."""

import os
import sys

import click

from syncfs.cli import show
from syncfs.cli.engine import MountPlan, known_share, known_shares
from syncfs.cli.home import Home, named_home, this_home
from syncfs.cli.mount_options import read_options
from syncfs.cli.options import command
from syncfs.cli.running import behind_mount, require_own, running_share
from syncfs.cli.unmounting import FLUSH_SECONDS, Manner, Tell, require_uncovered, stop_share
from syncfs.model.errors import SyncfsError, UnavailableError, UsageError
from syncfs.mount import mountpoint, table

READY_SECONDS = 90.0
"""How long a command waits for a share to get ready by default, as long as systemd waits for a service."""

_foreground = click.option("-f", "--foreground", is_flag=True, help="Stay in the foreground, with the log on stderr.")
_wait = click.option(
    "--wait",
    "seconds",
    metavar="SECONDS",
    type=click.FloatRange(1, 86_400),
    default=READY_SECONDS,
    show_default=True,
    help="How long it may take until it can be used.",
)


@command("mount", example="$ syncfs mount photos ~/photos\n$ syncfs mount photos /srv/photos -o allow_other,ro")
@click.argument("name")
@click.argument("directory", metavar="DIR")
@click.option("-o", "options", metavar="OPTIONS", multiple=True, help="Mount options, parted by commas.")
@_foreground
@_wait
def mount_command(
    name: str, directory: str, options: tuple[str, ...], foreground: bool, seconds: float, as_json: bool
) -> None:
    """Mount the share NAME at the directory DIR.

    Returns when the tree can be used. The share goes on in the background until 'syncfs umount DIR'.
    """
    chosen = read_options(options)
    if chosen.remount:
        raise UsageError("the mount option 'remount' is for mount(8): use 'mount -o remount,…', or unmount it first")
    home = named_home(chosen.home) if chosen.home else this_home()
    plan = MountPlan(mountpoint.prepare(directory), name, chosen.mount)
    answer: dict[str, str | None] = {"name": name, "mountpoint": plan.directory}
    sentence = f"'{name}' is mounted at {plan.directory}."
    _start(home, name, plan, foreground, seconds, sentence, answer if as_json else None)


@command("serve", example="$ syncfs serve photos")
@click.argument("name")
@_foreground
@_wait
def serve_command(name: str, foreground: bool, seconds: float, as_json: bool) -> None:
    """Take part in the share NAME without a mount.

    For a NAS or a store, which serves others. It goes on in the background until 'syncfs umount NAME'.
    """
    answer = {"name": name, "mountpoint": None}
    _start(this_home(), name, None, foreground, seconds, f"'{name}' is served.", answer if as_json else None)


@command("umount", example="$ syncfs umount ~/photos")
@click.argument("target", metavar="DIR|NAME")
@click.option(
    "--timeout",
    "seconds",
    metavar="SECONDS",
    type=click.FloatRange(1, 86_400),
    default=FLUSH_SECONDS,
    show_default=True,
    help="How long flushing may take.",
)
@click.option("--force", is_flag=True, help="Give up what cannot be stored; kill what does not answer.")
def umount_command(target: str, seconds: float, force: bool, as_json: bool) -> None:
    """End the share at DIR, or the one named NAME.

    Returns when everything is flushed and its process has ended. A mount that is in use stays.
    """
    name, place = end_target(this_home(), target, seconds, _tell, Manner.FORCED if force else Manner.ORDERLY)
    if as_json:
        show.put_json({"name": name, "mountpoint": place})


def start_in_background(home: Home, name: str, plan: MountPlan | None, seconds: float) -> int:
    """Run a share in a process of its own; returns its pid once the share can be used. Raises what keeps it from it."""
    from syncfs.cli.daemon import run_in_background
    from syncfs.cli.serving import log_path, serve_share

    known_share(home, name)
    home.prepare()
    return run_in_background(lambda ready: serve_share(home, name, plan, ready), log_path(home, name), seconds)


def end_target(
    home: Home, target: str, seconds: float, tell: Tell, manner: Manner = Manner.ORDERLY
) -> tuple[str, str | None]:
    """End what a person calls by its name or its directory; returns the share's name and where it was mounted.

    `manner` as for `stop_share`. Raises UsageError where there is no such mount, UnavailableError where the share does
    not run, BusyError, SetupError where the mount is another user's.
    """
    record = running_share(home, target) if "/" not in target else None
    if record is None:
        place = table.resolved(target)
        require_uncovered(place)
        mount = table.mounted_at(place)
        if mount is None or mount.type != table.TYPE:
            raise _nothing_to_end(home, target, place)
        record = behind_mount(home, mount)
        if record is None:
            require_own(mount, "unmount it")
            _take_away(place, tell, manner)
            return mount.source, place
    stop_share(record, seconds, tell, manner)
    return record.name, record.mountpoint


def _take_away(place: str, tell: Tell, manner: Manner) -> None:
    """Unmount what has no process that we could ask."""
    if mountpoint.is_dead(place):
        mountpoint.detach(place)
        tell(f"the process behind {place} had ended: its dead mount is taken away")
    else:
        mountpoint.unmount(place, lazy=manner is Manner.LAZY)
        tell(f"{place} is unmounted; its process belongs to another home and may still be flushing")


def _nothing_to_end(home: Home, target: str, place: str) -> SyncfsError:
    if "/" not in target and any(known.name == target for known in known_shares(home)):
        return UnavailableError(f"'{target}' is not running, so there is nothing to end")
    return UsageError(f"no share is mounted at {place}: 'syncfs list' shows what is mounted where")


def _tell(sentence: str) -> None:
    print(f"syncfs: {sentence}", file=sys.stderr)


def _start(
    home: Home,
    name: str,
    plan: MountPlan | None,
    foreground: bool,
    seconds: float,
    sentence: str,
    answer: dict[str, str | None] | None,
) -> None:
    def say_ready(pid: int) -> None:
        if answer is not None:
            show.put_json({**answer, "pid": pid})
        else:
            show.put(sentence)
        sys.stdout.flush()

    if foreground:
        from syncfs.cli.serving import serve_share

        serve_share(home, name, plan, lambda: say_ready(os.getpid()))
    else:
        say_ready(start_in_background(home, name, plan, seconds))
