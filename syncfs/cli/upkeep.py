"""Looking after a share: config, check, gc."""

import os
import sys
from datetime import UTC, datetime

import click

from syncfs.cli import engine, show
from syncfs.cli.asking import ask
from syncfs.cli.home import Home, this_home
from syncfs.cli.options import command
from syncfs.cli.running import RunRecord, claim, running_share
from syncfs.control.commands import CHECK, COLLECT, CONFIG, CheckArguments, ConfigArguments, Nothing
from syncfs.control.settings import SETTINGS, check_setting, find_setting
from syncfs.model.errors import BusyError, DamageError, UnavailableError
from syncfs.model.reports import CheckReport


@command("config", example="$ syncfs config photos listen 0.0.0.0:4000")
@click.argument("name")
@click.argument("key", required=False)
@click.argument("value", required=False)
def config_command(name: str, key: str | None, value: str | None, as_json: bool) -> None:
    """Show or change settings of a share on this computer.

    Without KEY all settings, with KEY that one; VALUE sets it, and '' goes back to the default.
    """
    home = this_home()
    known = engine.known_share(home, name)
    if key is None:
        _show_settings(_settings(home, known), as_json)
        return
    setting = find_setting(key)
    if value is None:
        current = _settings(home, known).get(key) or setting.default
        if as_json:
            show.put_json({key: current})
        else:
            show.put(show.plain(current))
        return
    text, applied = check_setting(key, value), True
    if setting.shared or running_share(home, name) is not None:
        applied = ask(home, name, CONFIG, ConfigArguments(key, value)).applied
    else:
        engine.configure(home, name, key, text)
    if as_json:
        show.put_json({"key": key, "value": text or setting.default, "applied": applied})
    elif not applied:
        print(f"'{name}' uses the new {key} once it is started again.", file=sys.stderr)


@command("check", example="$ syncfs check photos --repair")
@click.argument("name")
@click.option("--repair", is_flag=True, help="Mend what can be mended.")
@click.option("--rebuild", is_flag=True, help="Make the index anew from what the share's devices have signed.")
def check_command(name: str, repair: bool, rebuild: bool, as_json: bool) -> None:
    """Verify all that is kept of a share here.

    Ends with 7 where something is wrong and stays so.
    """
    home = this_home()
    known = engine.known_share(home, name)
    if (running := running_share(home, name)) is not None and running.purpose in ("mount", "serve"):
        if rebuild:
            raise BusyError(f"{running.sentence}: end it first with 'syncfs umount {name}' to rebuild its index")
        report = ask(home, name, CHECK, CheckArguments(repair), timeout=None)
    else:
        home.prepare()
        record = RunRecord(known.share, name, os.getpid(), "check", str(home.path), None, datetime.now(UTC))
        with claim(home, record):
            report = engine.check_share(home, name, repair, rebuild)
    if as_json:
        show.put_json(report)
    else:
        show.put(_described(report))
    if not report.clean:
        left = [problem for problem in report.problems if not problem.repaired]
        advice = f"'syncfs check {name} --repair' mends what can be mended"
        if repair or not any(problem.kind == "chunk" for problem in left):
            advice = "this cannot be mended here; what is said above tells what to do"
        raise DamageError(f"{show.amount(len(left), 'problem')} in '{name}': {advice}")


@command("gc", example="$ syncfs gc photos")
@click.argument("name")
def gc_command(name: str, as_json: bool) -> None:
    """Give back the space of versions no longer kept."""
    report = ask(this_home(), name, COLLECT, Nothing(), timeout=None)
    if as_json:
        show.put_json(report)
    else:
        gone = f"{show.amount(report.versions, 'version')} and {show.amount(report.chunks, 'chunk')}"
        show.put(f"Dropped {gone}: {show.size(report.bytes)} are free again.")


def _settings(home: Home, known: engine.KnownShare) -> dict[str, str]:
    """What is set on this computer, and for the whole share."""
    if running_share(home, known.name) is None:
        return dict(known.settings) | engine.shared_settings(home, known.name)
    try:
        return dict(known.settings) | ask(home, known.name, CONFIG, ConfigArguments()).settings
    except UnavailableError:  # it starts or ends, or is being checked
        return dict(known.settings)


def _show_settings(kept: dict[str, str], as_json: bool) -> None:
    values = {setting.key: kept.get(setting.key) or setting.default for setting in SETTINGS}
    if as_json:
        show.put_json(values)
        return
    rows = [(setting.key, values[setting.key], setting.meaning) for setting in SETTINGS]
    show.put(show.table(("KEY", "VALUE", "MEANING"), rows))


def _described(report: CheckReport) -> str:
    looked = ", ".join(
        (
            show.amount(report.nodes, "node"),
            show.amount(report.versions, "version"),
            show.amount(report.chunks, "chunk"),
            show.size(report.bytes),
        )
    )
    lines = [
        show.plain(f"{problem.subject}: {problem.message}{' (mended)' if problem.repaired else ''}")
        for problem in report.problems
    ]
    verdict = "all is well" if not report.problems else show.amount(len(report.problems), "problem")
    return "\n".join([*lines, f"Checked '{report.name}' in {show.duration(report.seconds)}: {looked}: {verdict}."])
