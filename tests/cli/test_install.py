"""scripts/install puts everything in place, takes only its own away again, and what it installed runs."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from syncfs.cli.exits import EXITS

ROOT = Path(__file__).parents[2]

FINAL = {
    2: "the call is wrong",
    3: "the secret in the vault cannot be read",
    4: "the share is not there",
    8: "an older syncfs does not learn to read it",
    11: "the secret is wrong",
    12: "the secret is wrong",
    13: "a store stays a store",
    15: "the unit has tried to make the directory",
    16: "somebody has to move away what is in the directory",
}
"""The exit codes after which systemd shall not start the share again, and why that would not help."""
PASSING = {
    1: "it may be a fault of that moment",
    5: "who uses it ends",
    6: "space comes back, and permissions are given",
    7: "a disk that fails to read may read again",
    9: "peers change",
    10: "peers come",
    14: "only create and join end with it",
    17: "who runs or mounts it ends",
    18: "who has the port ends",
    19: "the kernel module may be loaded later",
    20: "the disk of the home may come later",
    21: "it is also what an unknown error of SQLite's ends with, which the next start need not meet",
}
"""Those after which it shall, and what may be better then."""


def install(root: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = ["bash", str(ROOT / "scripts" / "install"), "--root", str(root), *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def files(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def test_installing_twice_and_removing(tmp_path: Path) -> None:
    (tmp_path / "sbin").mkdir()
    (tmp_path / "sbin" / "mount.other").write_text("")
    assert install(tmp_path).returncode == 0
    there = files(tmp_path)
    assert {f"sbin/{name}" for name in ("mount.syncfs", "mount.fuse.syncfs", "umount.fuse.syncfs")} < there
    assert install(tmp_path).returncode == 0
    assert files(tmp_path) == there
    assert install(tmp_path, "--remove").returncode == 0
    assert files(tmp_path) == {"sbin/mount.other"}
    assert not (tmp_path / "usr/local/share/syncfs").exists()


def test_the_files_of_others_stay(tmp_path: Path) -> None:
    (tmp_path / "sbin").mkdir()
    (tmp_path / "sbin" / "mount.syncfs").write_text("somebody's")
    done = install(tmp_path)
    assert done.returncode == 1
    assert "belongs to somebody else" in done.stderr
    assert install(tmp_path, "--remove").returncode == 0
    assert files(tmp_path) == {"sbin/mount.syncfs"}


def test_a_link_of_others_stays_even_where_it_leads_nowhere(tmp_path: Path) -> None:
    command = tmp_path / "usr/local/bin/syncfs"
    command.parent.mkdir(parents=True)
    command.symlink_to("/nowhere/syncfs")
    done = install(tmp_path)
    assert (done.returncode, f"{command} belongs to somebody else" in done.stderr) == (1, True)
    assert install(tmp_path, "--remove").returncode == 0
    assert command.is_symlink()


def test_directories_that_are_empty_go_and_others_stay(tmp_path: Path) -> None:
    (tmp_path / "usr/local/lib/systemd/system").mkdir(parents=True)
    (tmp_path / "usr/local/lib/systemd/system/other.service").write_text("")
    assert install(tmp_path).returncode == 0
    assert install(tmp_path, "--remove").returncode == 0
    assert (tmp_path / "usr/local/lib/systemd/system/other.service").exists()
    assert not (tmp_path / "usr/local/lib/systemd/user").exists()
    (tmp_path / "usr/local/lib/systemd/system/other.service").unlink()
    assert install(tmp_path).returncode == 0
    assert install(tmp_path, "--remove").returncode == 0
    assert not (tmp_path / "usr/local/lib/systemd").exists()


def test_a_root_is_one_of_the_current_directory_and_is_needed(tmp_path: Path) -> None:
    script = str(ROOT / "scripts" / "install")
    done = subprocess.run(["bash", script, "--root", "tree"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, (tmp_path / "tree/sbin/mount.syncfs").exists()) == (0, True), done.stderr
    for words in (["--root"], ["--root", ""]):
        done = subprocess.run(["bash", script, *words], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (1, "install: --root needs a directory: see scripts/install --help\n")


def test_what_is_installed_runs_anywhere(tmp_path: Path) -> None:
    assert install(tmp_path / "root").returncode == 0
    (tmp_path / "syncfs").mkdir()
    (tmp_path / "syncfs" / "__init__.py").write_text("raise SystemExit('a trap in the current directory')")

    def run(program: str, *words: str) -> subprocess.CompletedProcess[str]:
        environment = {"SYNCFS_HOME": str(tmp_path / "home"), "PYTHONPATH": str(tmp_path)}
        path = str(tmp_path / "root" / program)
        return subprocess.run(
            [path, *words], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )

    assert run("usr/local/bin/syncfs", "list", "--json").stdout == "[]\n"
    helper = run("sbin/mount.syncfs", "photos")
    assert (helper.returncode, helper.stderr.startswith("mount.syncfs: call it as")) == (1, True)
    assert run("sbin/mount.fuse.syncfs", "photos", str(tmp_path), "-o", "rw").returncode == 32
    assert run("sbin/umount.fuse.syncfs", str(tmp_path)).returncode == 32


@pytest.mark.parametrize("unit", ["system.service", "system-mount.service", "user.service"])
def test_what_trying_again_does_not_mend_is_not_tried_again(unit: str) -> None:
    failures = {row.code for row in EXITS} - {0, 129, 130, 143}  # all went well, and signals
    assert failures == {*FINAL, *PASSING} and not FINAL.keys() & PASSING.keys()
    text = (ROOT / "scripts" / "systemd" / unit).read_text()
    found = re.search("^RestartPreventExitStatus=(.*)$", text, re.MULTILINE)
    assert found is not None
    assert {int(code) for code in found[1].split()} == FINAL.keys()


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """A directory with the installed units, those with a name in place of %i for the share `photos`, and examples."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze (Debian: systemd)")
    assert install(tmp_path).returncode == 0
    made = tmp_path / "usr/local/lib/systemd/system"
    for example in (tmp_path / "usr/local/share/syncfs/examples").glob("*mount"):
        shutil.copy(example, made)
    for template in made.glob("*@.service"):
        text = template.read_text().replace("/usr/local/bin/syncfs", str(tmp_path / "usr/local/bin/syncfs"))
        (made / template.name.replace("@", "@photos")).write_text(text)
    return made


def analyze(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *map(str, words)], capture_output=True, text=True, check=False)


def test_systemd_accepts_the_units(units: Path) -> None:
    for unit in ("syncfs@photos.service", "syncfs-mount@photos.service", "srv-photos.mount", "srv-photos.automount"):
        done = analyze("verify", "--man=no", units / unit)
        complaints = [line for line in done.stderr.splitlines() if "photos" in line]
        assert (done.returncode, complaints) == (0, []), done.stderr


def test_a_served_share_may_do_little(units: Path) -> None:
    """By systemd's own measure, where 0 is locked up, 10 is open, and a service without any of it has 9.6."""
    done = analyze("security", "--offline=yes", "--threshold=30", units / "syncfs@photos.service")
    assert done.returncode == 0, done.stdout


def test_systemd_makes_units_of_our_lines_in_fstab(tmp_path: Path, units: Path) -> None:
    generator = Path("/lib/systemd/system-generators/systemd-fstab-generator")
    if not generator.exists():
        pytest.skip("needs systemd-fstab-generator (Debian: systemd)")
    example = (tmp_path / "usr/local/share/syncfs/examples/fstab").read_text()
    (tmp_path / "fstab").write_text("".join(line[2:] for line in example.splitlines(True) if " syncfs " in line))
    for name in ("normal", "early", "late"):
        (tmp_path / name).mkdir()
    command = [generator, *(tmp_path / name for name in ("normal", "early", "late"))]
    subprocess.run(command, env={"SYSTEMD_FSTAB": str(tmp_path / "fstab")}, check=True, capture_output=True)
    made = {path.name: path for path in (tmp_path / "normal").iterdir() if path.is_file()}
    assert set(made) == {"srv-photos.mount", "srv-archive.mount", "srv-archive.automount", "srv-work.mount"}
    photos = made["srv-photos.mount"].read_text()
    assert {"What=photos", "Where=/srv/photos", "Type=syncfs"} <= set(photos.splitlines())
    assert "Options=_netdev,nofail,x-systemd.mount-timeout=120" in photos
    assert "TimeoutIdleSec=10min" in made["srv-archive.automount"].read_text()
    assert "ro,noexec,home=/srv/syncfs" in made["srv-work.mount"].read_text()
    wanted = tmp_path / "normal" / "remote-fs.target.wants"
    assert {path.name for path in wanted.iterdir()} == {"srv-photos.mount", "srv-archive.automount", "srv-work.mount"}
    for path in made.values():
        done = analyze("verify", "--man=no", path)
        assert (done.returncode, [line for line in done.stderr.splitlines() if "srv-" in line]) == (0, []), done.stderr
