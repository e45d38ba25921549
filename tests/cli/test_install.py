"""scripts/install puts everything in place, takes only its own away again, and what it installed runs."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


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


def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze (Debian: systemd)")
    assert install(tmp_path).returncode == 0
    units = tmp_path / "usr/local/lib/systemd/system"
    for example in (tmp_path / "usr/local/share/syncfs/examples").glob("*mount"):
        shutil.copy(example, units)
    command = tmp_path / "usr/local/bin/syncfs"
    template = units / "syncfs@.service"
    (units / "syncfs@photos.service").write_text(template.read_text().replace("/usr/local/bin/syncfs", str(command)))
    for unit in ("syncfs@photos.service", "srv-photos.mount", "srv-photos.automount"):
        done = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", str(units / unit)], capture_output=True, text=True, check=False
        )
        complaints = [line for line in done.stderr.splitlines() if "photos" in line]
        assert (done.returncode, complaints) == (0, []), done.stderr
