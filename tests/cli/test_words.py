"""What the command line says and how it reads what it is told: pure parts."""

import re
from datetime import UTC, datetime
from pathlib import Path

import click
import pytest

from syncfs.cli import home as homes
from syncfs.cli import show
from syncfs.cli.exits import EXITS, exit_code
from syncfs.cli.failures import sentence, understood
from syncfs.cli.history import split_version
from syncfs.cli.home import check_share_name, find_home
from syncfs.cli.main import commands, run
from syncfs.cli.mount_options import read_options
from syncfs.model import errors
from syncfs.model.errors import SetupError, UsageError
from syncfs.model.reports import moment, shown_path

GUIDE = Path(__file__).parents[2] / "docs" / "guide" / "commands.md"


def all_commands() -> dict[str, click.Command]:
    context = click.Context(commands)
    return {name: commands.get_command(context, name) or pytest.fail(name) for name in commands.list_commands(context)}


def test_every_command_has_help_json_and_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    for name, command in all_commands().items():
        assert run([name, "--help"]) == 0
        text = capsys.readouterr().out
        assert "--json" in text and "-h, --help" in text and f"$ syncfs {name}" in text, name
        assert len(command.get_short_help_str(1000)) <= 60, name


def test_the_guide_names_every_command_option_and_exit_code() -> None:
    guide = GUIDE.read_text()
    sections = dict(re.findall(r"^## `syncfs (\w+)[^\n]*\n(.*?)(?=^## |\Z)", guide, re.MULTILINE | re.DOTALL))
    assert set(sections) >= set(all_commands())
    for name, command in all_commands().items():
        for option in (each for each in command.params if isinstance(each, click.Option)):
            longest = max(option.opts, key=len)
            assert longest == "--json" or f"`{longest}" in sections[name], f"{name} {longest}"
    for row in EXITS:
        assert f"| {row.code} | {row.meaning} |" in guide


def test_exit_codes_are_distinct_and_go_to_the_nearest_class() -> None:
    assert len({row.code for row in EXITS}) == len(EXITS)
    assert exit_code(errors.NewerFormatError()) == 8
    assert exit_code(errors.BadChunkError()) == 7
    assert exit_code(errors.RefusedError()) == 9
    assert exit_code(errors.PosixError(2)) == 1
    assert exit_code(ValueError()) == 1
    assert exit_code(KeyboardInterrupt()) == 130


def test_errors_in_groups_are_found() -> None:
    inner = BaseExceptionGroup("", [ValueError("x"), ExceptionGroup("", [SetupError("do that")])])
    assert sentence(understood(inner)) == "do that"
    assert isinstance(understood(BaseExceptionGroup("", [SetupError("x"), KeyboardInterrupt()])), KeyboardInterrupt)
    assert "ValueError: odd" in sentence(understood(ValueError("odd")))


@pytest.mark.parametrize(
    ("environment", "uid", "path"),
    [
        ({"SYNCFS_HOME": "/x/y", "HOME": "/h"}, 0, "/x/y"),
        ({"HOME": "/root"}, 0, "/var/lib/syncfs"),
        ({"HOME": "/h", "XDG_DATA_HOME": "/d"}, 1000, "/d/syncfs"),
        ({"HOME": "/h", "XDG_DATA_HOME": "relative"}, 1000, "/h/.local/share/syncfs"),
    ],
)
def test_where_the_home_is(environment: dict[str, str], uid: int, path: str) -> None:
    assert find_home(environment, uid).path == Path(path)


def test_a_user_without_a_home_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(homes, "_account_directory", lambda uid: "")
    with pytest.raises(SetupError, match="set SYNCFS_HOME"):
        find_home({}, 1000)


def test_a_home_that_may_not_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(path: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.scandir", refused)
    with pytest.raises(SetupError, match="may not be read and written by this user: allow it, or set SYNCFS_HOME"):
        homes.Home(tmp_path).require_readable()


@pytest.mark.parametrize("name", ["", "a b", "a/b", "-a", ".a", "#a", "a:b", "a\n", "a\x1b", "x" * 65, "a\\"])
def test_names_that_would_hurt_are_refused(name: str) -> None:
    with pytest.raises(UsageError):
        check_share_name(name)
    assert check_share_name("Fotos-2026_ä@home") == "Fotos-2026_ä@home"


def test_sizes_times_and_tables() -> None:
    assert [show.size(count) for count in (0, 999, 1024, 1536, 102_400, 1 << 30, None)] == [
        "0 B", "999 B", "1.0 KiB", "1.5 KiB", "100 KiB", "1.0 GiB", "-",
    ]  # fmt: skip
    assert [show.duration(seconds) for seconds in (0.42, 12, 200, 9000, 500_000, -1e9)] == [
        "0.4 s", "12 s", "3 min", "2 h", "6 days", "0.0 s",
    ]  # fmt: skip
    assert show.time(datetime.min.replace(tzinfo=UTC)).startswith("0001-01-01")
    assert show.table(("A", "B"), [("x", "1"), ("", "10")], right=(1,)) == "A   B\nx   1\n-  10"
    assert show.plain("a\x1b[2Jb") == "a\N{REPLACEMENT CHARACTER}[2Jb"


def test_moments_and_paths_for_people() -> None:
    assert moment(1_500_000_000_123_456_789).isoformat() == "2017-07-14T02:40:00.123456+00:00"
    assert (moment(-(2**90)).year, moment(2**90).year) == (1, 9999)
    assert shown_path("ä/\n".encode() + b"\xff") == r"ä/\n\xff"


def test_versions_and_times_after_an_at(tmp_path: Path) -> None:
    assert split_version("a") == ("a", None, None)
    assert split_version("a@0012ff") == ("a", "0012ff", None)
    assert split_version("a@b/c") == ("a@b/c", None, None)
    assert split_version("a@x@2026-05-04T12:00Z") == ("a@x", None, datetime(2026, 5, 4, 12, tzinfo=UTC))
    (tmp_path / "me@home").write_text("")
    assert split_version(f"{tmp_path}/me@home") == (f"{tmp_path}/me@home", None, None)
    with pytest.raises(UsageError, match="nothing follows"):
        split_version("a@")


def test_options_for_the_command_are_taken_out() -> None:
    given = read_options(["home=/srv/s,ro", "uhelper=x,noexec"])
    assert given.home == Path("/srv/s")
    assert set(given.mount.kernel) == {"ro", "noexec"}
    assert read_options(["odd=1,ro"], sloppy=True).mount.read_only
    with pytest.raises(UsageError, match="odd=1"):
        read_options(["odd=1"])
    with pytest.raises(UsageError, match="no absolute path"):
        read_options(["home=x"])


def test_a_remount_is_told_the_state_of_the_kernel_besides() -> None:
    kept = "rw,nosuid,relatime,remount,user_id=0,group_id=0,default_permissions,allow_other,max_read=131072,seclabel"
    given = read_options([f"{kept},timeout=9,noacl,timeout=5"])
    assert (given.remount, given.mount.timeout) == (True, 5.0)
    assert given.own == {"allow_other": "allow_other", "timeout": "timeout=5", "acl": "noacl"}
    for wrong in ("foo", "timeout=abc"):
        with pytest.raises(UsageError, match=wrong):
            read_options([f"remount,{wrong}"])
    assert read_options(["remount,foo,ro"], sloppy=True).mount.read_only


def test_help_and_version_end_well(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert run(["mount", "-h"]) == 0
    assert "returns when the tree can be used" in capsys.readouterr().out.lower()
    assert run([]) == 2
