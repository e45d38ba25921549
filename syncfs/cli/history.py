"""Walking back in time: versions, restore, log, conflicts."""

import os
from datetime import datetime

import click

from syncfs.cli import show
from syncfs.cli.asking import ask, ask_record, locate
from syncfs.cli.home import this_home
from syncfs.cli.options import command
from syncfs.cli.running import running_shares
from syncfs.control.commands import (
    ACCEPT,
    CONFLICTS,
    LOG,
    RESTORE,
    UNDO,
    VERSIONS,
    AcceptArguments,
    LogArguments,
    Nothing,
    PathArguments,
    RestoreArguments,
    UndoArguments,
)
from syncfs.model.errors import UsageError
from syncfs.model.reports import LogEntry


@command("versions", example="$ syncfs versions ~/photos/letter.odt")
@click.argument("path")
def versions_command(path: str, as_json: bool) -> None:
    """List the versions of a file, newest first.

    The file need not exist any more. PATH lies below a mount, or is NAME:PATH.
    """
    record, inner = locate(this_home(), path)
    versions = ask_record(record, VERSIONS, PathArguments(inner))
    if as_json:
        show.put_json(versions)
        return
    rows = [
        (
            version.id,
            show.time(version.time),
            show.size(version.size),
            version.device,
            {True: "here", False: "elsewhere", None: ""}[version.here],
            "now" if version.current else "",
        )
        for version in versions
    ]
    show.put(show.table(("VERSION", "TIME", "SIZE", "DEVICE", "CONTENT", ""), rows, right=(2,)))


@command(
    "restore",
    example="$ syncfs restore ~/photos/letter.odt\n$ syncfs restore ~/photos/letter.odt@2026-05-04T12:00 --to old.odt",
)
@click.argument("path", metavar="PATH[@VERSION|@TIME]")
@click.option("--to", metavar="PATH", help="Put it there instead, in the same share.")
def restore_command(path: str, to: str | None, as_json: bool) -> None:
    """Make an old version of a file the current one.

    Without a VERSION or TIME the one before the current one, or the last one of a deleted file.
    """
    home = this_home()
    plain_path, version, time = split_version(path)
    record, inner = locate(home, plain_path)
    target = None
    if to is not None:
        other, target = locate(home, to)
        if other.share != record.share:
            raise UsageError(f"{to} is not in the share '{record.name}': copy across shares with ordinary programs")
    report = ask_record(record, RESTORE, RestoreArguments(inner, version, time, target), timeout=None)
    if as_json:
        show.put_json(report)
    else:
        where = report.path or f"'{record.name}'"
        what = f"{show.amount(report.entries, 'entry', 'entries')} of {where}" if report.entries > 1 else where
        show.put(show.plain(f"Restored {what} as it was at {show.time(report.time)} ({show.size(report.size)})."))


@command("log", example="$ syncfs log ~/photos/2026 -n 20")
@click.argument("path")
@click.option(
    "-n",
    "--limit",
    metavar="N",
    type=click.IntRange(1, 100_000),
    default=100,
    show_default=True,
    help="Entries at most.",
)
def log_command(path: str, limit: int, as_json: bool) -> None:
    """Show who did what when, newest first."""
    record, inner = locate(this_home(), path)
    entries = ask_record(record, LOG, LogArguments(inner, limit), timeout=None)
    if as_json:
        show.put_json(entries)
        return
    rows = [
        (
            show.time(entry.time),
            entry.device,
            entry.action,
            "" if entry.size is None else show.size(entry.size),
            f"{entry.former_path} -> {entry.path}" if entry.former_path else entry.path or _told_setting(entry),
        )
        for entry in entries
    ]
    show.put(show.table(("TIME", "DEVICE", "ACTION", "SIZE", "PATH"), rows, right=(3,)))


@command("conflicts", example="$ syncfs conflicts photos")
@click.argument("name", required=False)
def conflicts_command(name: str | None, as_json: bool) -> None:
    """List the files that two devices changed at once."""
    home = this_home()
    names = [name] if name else [record.name for record in running_shares(home)]
    found = {each: ask(home, each, CONFLICTS, Nothing()) for each in names}
    if as_json:
        show.put_json(found[name] if name else found)
        return
    rows = [
        (
            each,
            conflict.path,
            conflict.conflict_path,
            conflict.device,
            show.time(conflict.time),
            show.size(conflict.size),
        )
        for each, conflicts in found.items()
        for conflict in conflicts
    ]
    if not rows:
        show.put("There are no conflicts.")
    else:
        show.put(show.table(("SHARE", "FILE", "ALSO THERE AS", "BY", "TIME", "SIZE"), rows, right=(5,)))


@command("undo", example="$ syncfs undo photos --device laptop --since 2026-05-04T12:00")
@click.argument("name")
@click.option(
    "--device", metavar="DEVICE", required=True, help="Whose changes: a name as 'syncfs peers' shows it, or an id."
)
@click.option("--since", metavar="TIME", required=True, help="ISO 8601; without a zone by the clock here.")
def undo_command(name: str, device: str, since: str, as_json: bool) -> None:
    """Put back everything that one device did since a time.

    Old states come back as new versions. What others have changed since stays as it is.
    """
    try:
        when = datetime.fromisoformat(since).astimezone()
    except ValueError:
        raise UsageError(f"'{since}' is no time: write it like 2026-05-04T12:00") from None
    report = ask(this_home(), name, UNDO, UndoArguments(device, when), timeout=None)
    if as_json:
        show.put_json(report)
        return
    left = f"; {show.amount(report.kept, 'change')} that others built on stayed" if report.kept else ""
    done = show.amount(report.changed, "change")
    show.put(show.plain(f"Put back {done} of {report.device} since {show.time(report.since)}{left}."))


@command("accept", example="$ syncfs accept photos --device laptop")
@click.argument("name")
@click.option(
    "--device", metavar="DEVICE", help="Whose changes: a name as 'syncfs status' shows it, or an id; without it all."
)
def accept_command(name: str, device: str | None, as_json: bool) -> None:
    """Take changes that wait because they were too many at once.

    It holds on all computers of the share. 'syncfs undo' puts them back instead.
    """
    report = ask(this_home(), name, ACCEPT, AcceptArguments(device), timeout=None)
    if as_json:
        show.put_json(report)
    else:
        show.put(show.plain(f"Took {show.amount(report.records, 'change')} of {', '.join(report.devices)}."))


def _told_setting(entry: LogEntry) -> str:
    return "" if entry.setting is None else f"{entry.setting} {entry.value or '(default)'}"


def split_version(text: str) -> tuple[str, str | None, datetime | None]:
    """`PATH@VERSION` or `PATH@TIME` in its parts; a file whose name itself holds the `@` goes first.

    A time without a zone is that of the clock here.
    """
    path, at, wanted = text.rpartition("@")
    if not at or not path or "/" in wanted or os.path.lexists(text):
        return text, None, None
    if not wanted:
        raise UsageError(f"nothing follows the @ in {text}: write PATH@VERSION or PATH@TIME")
    try:
        return path, None, datetime.fromisoformat(wanted).astimezone()
    except ValueError:
        return path, wanted, None
