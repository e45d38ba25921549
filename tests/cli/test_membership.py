"""create, join, secret and leave: their JSON is a promise, their errors are sentences with codes."""

import signal
from pathlib import Path

import pytest

from tests.cli.conftest import Shell


def test_create_tells_the_secrets(shell: Shell) -> None:
    made = shell.run("create", "photos", "--listen", "127.0.0.1:4000", "--discovery", "none", "--json").json
    assert set(made) == {"share", "name", "secrets"}
    assert made["name"] == "photos"
    assert {kind: text[0] for kind, text in made["secrets"].items()} == {
        "read_write": "W", "read_only": "R", "store": "S",
    }  # fmt: skip
    assert len(made["secrets"]["read_write"]) == 32
    assert shell.run("config", "photos", "--json").json == {
        "listen": "127.0.0.1:4000",
        "discovery": "none",
        "peers": "",
        "retention": "all=1d hourly=7d daily=30d deleted=30d",
        "brake": "share=30% least=100 within=10m",
    }
    assert "syncfs join SECRET work" in shell.good("create", "work")


def test_a_secret_joins_elsewhere_in_each_role(shell: Shell, tmp_path: Path) -> None:
    secrets = shell.run("create", "photos", "--json").json["secrets"]
    for kind, role in (("read_write", "writer"), ("read_only", "reader"), ("store", "store")):
        other = Shell(tmp_path / kind)
        joined = other.run("join", secrets[kind], "copy", "--peer", "127.0.0.1:4000", "--json").json
        assert (joined["name"], joined["role"]) == ("copy", role)
        assert other.run("list", "--json").json[0]["role"] == role


def test_secrets_are_told_again_and_links_join(shell: Shell, tmp_path: Path) -> None:
    made = shell.run("create", "photos", "--listen", "192.0.2.1:4000", "--json").json
    for option, kind in ((None, "read_write"), ("--reader", "read_only"), ("--store", "store")):
        told = shell.run("secret", "photos", *([option] if option else []), "--json").json
        assert (told["kind"], told["secret"]) == (kind, made["secrets"][kind])
        assert told["link"] == f"syncfs://join/{told['secret']}?name=photos&peer=192.0.2.1:4000"
    other = Shell(tmp_path / "other")
    assert other.run("join", "-", "--json", input=told["link"] + "\n").json["name"] == "photos"
    assert other.run("config", "photos", "peers").out == "192.0.2.1:4000\n"
    grouped, link = shell.good("secret", "photos").splitlines()
    assert grouped.replace("-", "") == made["secrets"]["read_write"]
    assert link.startswith("syncfs://join/")
    assert len(shell.good("secret", "photos", "--qr").splitlines()) > 15
    assert other.run("secret", "photos", "--reader").code == 3, "a store knows no reader's secret"


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["join", "WAAA"], 3, "character"),
        (["join", "X" + "A" * 31, "x"], 12, "unknown kind"),
        (["join", "http://example.org"], 3, ""),
        (["join", ""], 3, "empty"),
        (["create", "photos"], 14, "photos"),
        (["create", "a b"], 2, "name cannot hold ' '"),
        (["create", "-x"], 2, "syncfs create --help"),
        (["create", "x", "--listen", "nowhere"], 2, "HOST:PORT"),
        (["create", "x", "--discovery", "telepathy"], 2, "choose from lan"),
        (["create", "x", "--from", "/nonexistent"], 2, "no directory /nonexistent"),
        (["secret", "nothing"], 4, "'syncfs list'"),
        (["secret", "photos", "--reader", "--store"], 2, "not both"),
        (["leave", "photos"], 2, "--yes"),
        (["leave", "nothing", "--yes"], 4, ""),
        (["nonsense"], 2, "no such command"),
    ],
)
def test_errors_are_one_sentence_with_a_code(shell: Shell, words: list[str], code: int, sentence: str) -> None:
    shell.good("create", "photos")
    done = shell.run(*words)
    assert (done.code, done.out) == (code, ""), done
    assert done.err.startswith("syncfs: ")
    assert done.err.count("\n") == 1
    assert sentence in done.err
    as_json = shell.run(*words, "--json")
    assert as_json.code == code
    assert '"exit":' + str(code) in as_json.err


def test_leaving_takes_everything_of_the_share(shell: Shell) -> None:
    share = shell.run("create", "photos", "--json").json["share"]
    assert (shell.home / "shares" / share).is_dir()
    assert "Left 'photos'" in shell.good("leave", "photos", "--yes")
    assert not (shell.home / "shares" / share).exists()
    assert shell.run("list", "--json").json == []


def test_create_from_a_tree_counts_it(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "tree" / "inner").mkdir(parents=True)
    (tmp_path / "tree" / "inner" / "file").write_bytes(b"x" * 5000)
    made = shell.run("create", "photos", "--from", tmp_path / "tree", "--json").json
    assert made["imported"] == {"entries": 2, "bytes": 5000, "lost_attributes": 0}
    home_inside = Shell(tmp_path / "tree" / "home")
    assert home_inside.run("create", "x", "--from", tmp_path / "tree", "--json").json["imported"]["entries"] == 2


def test_an_import_that_fails_leaves_no_share(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "file").write_bytes(b"x")
    done = shell.run("create", "photos", "--from", tmp_path / "tree" / "file")
    assert done.code == 2
    assert shell.run("list", "--json").json == []


@pytest.mark.parametrize(
    ("number", "ignoring", "told"),
    [
        (signal.SIGINT, "", "interrupted"),
        (signal.SIGTERM, "", "ended by SIGTERM"),
        (signal.SIGTERM, "INT", "ended by SIGTERM"),
        (signal.SIGHUP, "", "ended by SIGHUP"),
        (signal.SIGHUP, "INT", "ended by SIGHUP"),
    ],
)
def test_an_import_that_a_signal_ends_leaves_no_share(
    shell: Shell, tmp_path: Path, number: int, ignoring: str, told: str
) -> None:
    (tmp_path / "tree").mkdir()
    words = ("create", "photos", "--from", tmp_path / "tree")
    with shell.started(*words, MEMORY_SYNCFS="slow", ignoring=ignoring) as importing:
        assert importing.stdout is not None and importing.stderr is not None
        assert importing.stdout.readline() == "importing\n"
        importing.send_signal(number)
        if number != signal.SIGINT:
            importing.send_signal(number)  # as timeout(1) does, to the process and to its group
        assert importing.wait(10) == 128 + number
        assert importing.stderr.read() == f"syncfs: {told}\n"
    assert shell.run("list", "--json").json == []
    shell.good("create", "photos")


def test_an_import_that_is_killed_is_told(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    words = ("create", "photos", "--from", tmp_path / "tree")
    with shell.started(*words, MEMORY_SYNCFS="slow") as importing:
        assert importing.stdout is not None
        assert importing.stdout.readline() == "importing\n"
        assert shell.run("list", "--json").json[0]["state"] == "in use"
        assert "in use by 'syncfs create'" in shell.run("serve", "photos").err
        importing.kill()
    assert shell.run("list", "--json").json[0]["state"] == "unfinished"
    assert "only a part of its tree" in shell.run("status", "photos", "--json").json["reasons"][0]
    for refused in (("serve", "photos"), ("check", "photos"), ("secret", "photos"), words):
        done = shell.run(*refused)
        assert done.code == 6 and "holds only a part of its tree" in done.err and "syncfs leave photos" in done.err
    shell.good("leave", "photos", "--yes")
    shell.good(*words)
    assert shell.run("list", "--json").json[0]["state"] == "stopped"
    shell.good("check", "photos")


def test_what_the_caller_ignores_ends_nothing(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    words = ("create", "photos", "--from", tmp_path / "tree")
    with shell.started(*words, MEMORY_SYNCFS="slow", ignoring="HUP") as importing:
        assert importing.stdout is not None
        assert importing.stdout.readline() == "importing\n"
        importing.send_signal(signal.SIGHUP)
        importing.send_signal(signal.SIGTERM)
        assert importing.wait(10) == 128 + signal.SIGTERM


def test_debugging_shows_the_traceback(shell: Shell) -> None:
    done = shell.run("secret", "nothing", SYNCFS_DEBUG="1")
    assert done.code == 4
    assert "Traceback" in done.err
    assert done.err.splitlines()[-1].startswith("syncfs: ")


def test_a_home_that_cannot_be_used_has_its_sentence(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = Shell(tmp_path / "file").run("list")
    assert done.code == 20
    assert done.err == (
        f"syncfs: the home {tmp_path}/file is not a directory: "
        "move it away, or set SYNCFS_HOME to a directory of your own\n"
    )
    shell.good("create", "photos")
    (shell.home / "vault").write_bytes(b"damaged")
    assert shell.run("list").code == 7
