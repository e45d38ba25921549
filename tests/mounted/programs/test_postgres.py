"""PostgreSQL: initdb, pgbench, a crash of the file system beneath it, and its own recovery."""

import os
import pwd
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.end_to_end.peer import SHARE, Peer
from tests.mounted.durability.conftest import killing

pytestmark = [pytest.mark.fuse, pytest.mark.root, pytest.mark.soak]

OPTIONS = "xattr=on,allow_other,default_permissions"
SERVER = "-c unix_socket_directories={socket} -c listen_addresses= -c fsync=on -c full_page_writes=off"
"""Without full pages a torn page would be found: a page that is written reaches the disk whole, or not at all."""


class Postgres:
    """A server whose data lie on the mount, run as the user postgres."""

    def __init__(self, data: Path, socket: Path) -> None:
        programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
        if not programs:
            pytest.skip("needs PostgreSQL (Debian: postgresql), which is not installed")
        try:
            self._user = pwd.getpwnam("postgres")
        except KeyError:
            pytest.skip("needs the user postgres, which Debian's package postgresql makes")
        self._programs = programs[-1]
        self.data, self.socket = data, socket
        for place in (data, socket):
            place.mkdir()
            os.chown(place, self._user.pw_uid, self._user.pw_gid)

    def run(self, name: str, *words: object, check: bool = True) -> str:
        """Run one of its programs."""
        done = subprocess.run(
            [self._programs / name, *map(str, words)], user=self._user.pw_uid, group=self._user.pw_gid,
            extra_groups=[], cwd="/", env={"PATH": os.environ["PATH"], "PGHOST": str(self.socket), "LC_ALL": "C"},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
        log = self.socket / "log"
        told = log.read_text()[-3000:] if log.exists() else ""
        assert not check or done.returncode == 0, f"{name}: {done.stdout[-4000:]}\n{told}"
        return done.stdout

    def start(self) -> None:
        """Start the server; returns when it has recovered."""
        options = SERVER.format(socket=self.socket)
        self.run("pg_ctl", "-D", self.data, "-o", options, "-l", self.socket / "log", "-w", "-t", "120", "start")

    def stop(self, how: str = "fast") -> None:
        """Stop the server, if it runs."""
        self.run("pg_ctl", "-D", self.data, "-m", how, "-w", "stop", check=False)

    def ask(self, query: str) -> str:
        """The answer to one query."""
        return self.run("psql", "-At", "-d", "postgres", "-c", query).strip()


@pytest.fixture
def postgres(mounted: Peer, tmp_path: Path) -> Iterator[Postgres]:
    """A server with its data on the mount."""
    for place in (tmp_path, *tmp_path.parents):
        if place.owner() == "root" and not place.stat().st_mode & 0o001:
            place.chmod(place.stat().st_mode | 0o011)
    mounted.stop()
    mounted.start(OPTIONS)
    server = Postgres(mounted / "data", tmp_path / "socket")
    try:
        yield server
    finally:
        server.stop("immediate")


def test_postgres_recovers_from_a_crash_of_the_mount(mounted: Peer, postgres: Postgres) -> None:
    postgres.data.chmod(0o700)
    postgres.run("initdb", "-D", postgres.data, "--data-checksums", "-A", "trust")
    postgres.start()
    postgres.run("pgbench", "-i", "-s", "2", "-q", "postgres")
    postgres.run("pgbench", "-c", "4", "-T", "10", "-n", "postgres")
    for _ in range(3):
        command = [postgres._programs / "pgbench", "-c", "4", "-T", "60", "-n", "postgres"]
        bench = subprocess.Popen(
            command, user="postgres", env={"PGHOST": str(postgres.socket)}, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        with suppress(subprocess.TimeoutExpired):
            bench.wait(8)
        acknowledged = int(postgres.ask("SELECT count(*) FROM pgbench_history"))
        with killing(mounted.pid):
            pass
        bench.kill()
        bench.wait()
        postgres.stop("immediate")
        mounted.start(OPTIONS)
        for lock in (postgres.data / "postmaster.pid", *postgres.socket.glob(".s.*")):
            lock.unlink(missing_ok=True)  # of the server that could not go on
        postgres.start()
        assert int(postgres.ask("SELECT count(*) FROM pgbench_history")) >= acknowledged
        sums = [postgres.ask(f"SELECT coalesce(sum({column}), 0) FROM {table}") for table, column in (
            ("pgbench_accounts", "abalance"), ("pgbench_tellers", "tbalance"), ("pgbench_branches", "bbalance"),
            ("pgbench_history", "delta"))]  # fmt: skip
        assert len(set(sums)) == 1, sums
    postgres.stop()
    postgres.run("pg_checksums", "--check", "-D", postgres.data)
    told = mounted.run("check", SHARE, "--json")
    assert told.code == 0, told
