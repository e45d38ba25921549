"""The command `syncfs`: finds the module of a command, runs it, and turns whatever goes wrong into a sentence.

A module is loaded only when its command is called, so that each command is as quick as what it does.
"""

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from types import MappingProxyType
from typing import Final

import click

from syncfs import __version__
from syncfs.cli.exits import OK, OTHER
from syncfs.cli.failures import report_failure
from syncfs.cli.signals import Ending, ending_in_order

_MODULES: Final = MappingProxyType(
    {
        "create": "membership",
        "join": "membership",
        "mount": "mounting",
        "umount": "mounting",
        "serve": "mounting",
        "list": "overview",
        "status": "overview",
        "peers": "overview",
        "transfers": "overview",
        "config": "upkeep",
        "secret": "membership",
        "check": "upkeep",
        "gc": "upkeep",
        "versions": "history",
        "restore": "history",
        "log": "history",
        "conflicts": "history",
        "undo": "history",
        "accept": "history",
        "leave": "membership",
    }
)
"""Each command, in the order of `syncfs --help`, and the module that holds it as `NAME_command`."""


class _Commands(click.Group):
    """The commands of the table, loaded when they are needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _MODULES:
            return None
        module = import_module(f"syncfs.cli.{_MODULES[cmd_name]}")
        command: click.Command = getattr(module, f"{cmd_name}_command")
        return command


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="'syncfs COMMAND --help' explains a command. SYNCFS_HOME names the directory in which everything is kept.",
)
@click.version_option(__version__, prog_name="syncfs", message="%(prog)s %(version)s")
def commands() -> None:
    """Share a folder with a group of computers, encrypted and without a server."""


def run(arguments: Sequence[str]) -> int:
    """Run one command line; returns the exit code."""
    with ending_in_order() as ending:
        return _run(arguments, ending)


def _run(arguments: Sequence[str], ending: Ending) -> int:
    # Not `commands.main()`, which has its own words for errors and interrupts.
    try:
        with commands.make_context("syncfs", list(arguments), obj=ending) as context:
            commands.invoke(context)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read our output has enough; the interpreter must not complain at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OTHER
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return error.exit_code
    except click.exceptions.Exit as error:
        return error.exit_code
    except BaseException as error:
        return report_failure(ending.meant(error), "--json" in arguments)
    return OK


def main() -> None:
    """The entry point of the console script."""
    sys.exit(run(sys.argv[1:]))
