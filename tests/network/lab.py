"""A small network of this computer's own: hosts are network namespaces on one bridge, for tests of whole programs.

Needs root, iproute2 and nsenter (util-linux), as the marker `netns` says. A host shares the file system and the mounts
of the test (a mount made inside is seen outside), and has nothing of the network outside: addresses 10.77.0.N and
fe80::, no default route.
Leaving the `with` ends every process inside, daemons included, and removes the namespaces, whatever went wrong before.
"""

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.leftovers import MARKER, namespace_prefix

BRIDGE = "br0"
INTERFACE = "eth0"
_GRACE = 3.0
"""Seconds that a process gets between SIGTERM and SIGKILL."""


class Lab:
    """The hosts `h1`, `h2`, … and what runs on them."""

    def __init__(self, hosts: int, *, ipv4: bool = True, ipv6: bool = True) -> None:
        self.prefix = f"{namespace_prefix(os.environ.get(MARKER, 'by-hand'))}{secrets.token_hex(3)}-"
        self.hosts = tuple(f"h{number}" for number in range(1, hosts + 1))
        self._ipv4 = ipv4
        self._ipv6 = ipv6
        self._processes: list[subprocess.Popen[Any]] = []

    def build(self, attached: Sequence[str]) -> None:
        """Make the namespaces, and plug the `attached` hosts into the bridge."""
        spaces = ["net", *self.hosts]
        _ip("".join(f"netns add {self.prefix}{space}\n" for space in spaces))
        self._batch("net", f"link add {BRIDGE} type bridge forward_delay 0 mcast_snooping 0\nlink set {BRIDGE} up\n")
        for host in self.hosts:
            self._set_ipv6(host)
            self._batch(host, "link set lo up\n")
        for host in attached:
            self.attach(host)

    def attach(self, host: str) -> None:
        """Give a host its interface on the bridge, as if a network card were plugged in."""
        _ip(
            f"link add name {INTERFACE} netns {self.prefix}{host} type veth peer name p-{host} netns {self.prefix}net\n"
        )
        self._batch("net", f"link set p-{host} master {BRIDGE}\nlink set p-{host} up\n")
        address = f"addr add {self.address(host)}/24 brd + dev {INTERFACE}\n" if self._ipv4 else ""
        self._batch(host, f"{address}link set {INTERFACE} up\n")

    def detach(self, host: str) -> None:
        """Take the interface away, as if the card were pulled."""
        self._batch(host, f"link del {INTERFACE}\n")

    def cut(self, host: str) -> None:
        """Pull the host's cable out."""
        self._batch("net", f"link set p-{host} down\n")

    def mend(self, host: str) -> None:
        """Put the cable back in."""
        self._batch("net", f"link set p-{host} up\n")

    def address(self, host: str) -> str:
        """The IPv4 address of a host."""
        return f"10.77.0.{int(host[1:])}"

    def exec(
        self, host: str, argv: Sequence[str | Path], env: Mapping[str, str] | None = None, **popen: Any
    ) -> "subprocess.Popen[Any]":
        """Start a program on a host (`net` has the bridge); it ends with the lab at the latest.

        `env` is added to ours, further arguments go to Popen.
        """
        command = ["nsenter", f"--net=/run/netns/{self.prefix}{host}", *map(str, argv)]
        process = subprocess.Popen(command, env={**os.environ, **(env or {})}, **popen)
        self._processes.append(process)
        return process

    def run(
        self, host: str, argv: Sequence[str | Path], env: Mapping[str, str] | None = None, timeout: float = 30
    ) -> "subprocess.CompletedProcess[str]":
        """Run a program on a host to its end, and give back what it said."""
        process = self.exec(host, argv, env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise
        return subprocess.CompletedProcess(list(map(str, argv)), process.returncode, out, err)

    def pids(self, host: str) -> list[int]:
        """The processes of a host, daemons included."""
        listed = subprocess.run(
            ["ip", "netns", "pids", f"{self.prefix}{host}"], capture_output=True, text=True, check=False
        )
        return [int(pid) for pid in listed.stdout.split()]

    def close(self) -> None:
        """End the processes and remove the namespaces. Never raises for what is gone already."""
        for sign, patience in ((signal.SIGTERM, _GRACE), (signal.SIGKILL, _GRACE)):
            running = self._all_pids()
            for pid in running:
                with suppress(ProcessLookupError):
                    os.kill(pid, sign)
            deadline = time.monotonic() + patience
            while running and time.monotonic() < deadline:
                running = self._all_pids()
                time.sleep(0.01 if running else 0)
        for process in self._processes:
            with suppress(subprocess.TimeoutExpired):
                process.wait(_GRACE)
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None:
                    with suppress(OSError):
                        stream.close()
        for space in ("net", *self.hosts):
            subprocess.run(["ip", "netns", "del", f"{self.prefix}{space}"], capture_output=True, check=False)

    def _all_pids(self) -> list[int]:
        """What runs inside, and what we started that is still on its way in."""
        inside = {pid for space in ("net", *self.hosts) for pid in self.pids(space)}
        return sorted(inside | {process.pid for process in self._processes if process.poll() is None})

    def _batch(self, space: str, lines: str) -> None:
        _ip(lines, "-n", f"{self.prefix}{space}")

    def _set_ipv6(self, host: str) -> None:
        """Switch IPv6 off or, where on, the waiting for duplicate addresses, which would cost each test two seconds."""
        name, value = ("accept_dad", "0") if self._ipv6 else ("disable_ipv6", "1")
        script = f"for where in all default; do echo {value} > /proc/sys/net/ipv6/conf/$where/{name}; done"
        subprocess.run(["nsenter", f"--net=/run/netns/{self.prefix}{host}", "sh", "-c", script], check=True)


@contextmanager
def lab(
    hosts: int = 2, *, ipv4: bool = True, ipv6: bool = True, attached: Sequence[str] | None = None
) -> Iterator[Lab]:
    """A lab of `hosts` hosts, all on the bridge, or only those named in `attached`."""
    made = Lab(hosts, ipv4=ipv4, ipv6=ipv6)
    try:
        made.build(made.hosts if attached is None else attached)
        yield made
    finally:
        try:
            made.close()
        except BaseException:  # a second Ctrl-C: finish what was begun, then let it through
            made.close()
            raise


def _ip(lines: str, *options: str) -> None:
    done = subprocess.run(
        ["ip", *options, "-batch", "-"], input=lines, capture_output=True, text=True, check=False, close_fds=True
    )
    if done.returncode != 0:
        raise RuntimeError(f"ip refused: {done.stderr.strip()}")


if __name__ == "__main__":
    with lab(int(sys.argv[1]) if len(sys.argv) > 1 else 2) as shown:
        print(f"hosts {', '.join(shown.hosts)}; enter one with: ip netns exec {shown.prefix}h1 sh; Ctrl-C removes all")
        with suppress(KeyboardInterrupt):
            signal.pause()
