"""LAN discovery between real processes on hosts of a lab."""

import json
import os
import re
import select
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import pytest

from syncfs.discovery.beacon import BEACON_BYTES
from tests.network.lab import Lab, lab

pytestmark = [pytest.mark.netns, pytest.mark.root]

ROOT = Path(__file__).parents[2]
KEY = bytes(range(32)).hex()
OTHER_KEY = bytes(range(1, 33)).hex()
SOON = 3.0


class Watched:
    """A program on a host of the lab, whose lines are read with a deadline."""

    def __init__(self, lab: Lab, host: str, module: str, *arguments: str) -> None:
        argv = [sys.executable, "-m", f"tests.network.{module}", *arguments]
        self.process = lab.exec(host, argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.lines: list[str] = []
        self._rest = b""

    def wait(self, wanted: Callable[[str], object], seconds: float = SOON) -> float:
        """Read until a line is wanted (earlier ones count too); gives the seconds it took, fails when time is over."""
        start = time.monotonic()
        checked = 0
        while True:
            for line in self.lines[checked:]:
                if wanted(line):
                    return time.monotonic() - start
            checked = len(self.lines)
            left = start + seconds - time.monotonic()
            if left <= 0 or not self._read(left):
                pytest.fail(f"nothing in {seconds} s; was told {self.lines}, exit {self.process.poll()}")

    def forget(self) -> None:
        """Read what is there, and let it not count any more."""
        while self._read(0):
            pass
        self.lines.clear()

    def _read(self, seconds: float) -> bool:
        assert self.process.stdout is not None
        if not select.select([self.process.stdout], [], [], seconds)[0]:
            return False
        more = os.read(self.process.stdout.fileno(), 65536)
        *lines, self._rest = (self._rest + more).split(b"\n")
        self.lines.extend(line.decode() for line in lines)
        return bool(more)


def finder(made: Lab, host: str, port: int, key: str = KEY, rate: float = 1.0) -> Watched:
    return Watched(made, host, "finder", key, str(port), str(rate))


def ready(*watched: Watched) -> None:
    for one in watched:
        one.wait(lambda line: "ready" in line, 20)


def place(port: int, host: str = "") -> Callable[[str], bool]:
    """Wants a sighting of a port, on a host whose address matches a pattern."""

    def wanted(line: str) -> bool:
        told = json.loads(line)
        return told.get("port") == port and re.fullmatch(host or ".*", told["host"]) is not None

    return wanted


@pytest.mark.parametrize(
    ("ipv4", "ipv6", "pattern"),
    [(True, False, r"10\.77\.0\.\d+"), (False, True, r"fe80::[0-9a-f:]+%eth0")],
    ids=["ipv4", "ipv6"],
)
def test_two_hosts_find_each_other(ipv4: bool, ipv6: bool, pattern: str) -> None:
    with lab(2, ipv4=ipv4, ipv6=ipv6) as made:
        one = finder(made, "h1", 1001)
        ready(one)
        two = finder(made, "h2", 1002)
        ready(two)
        assert two.wait(place(1001, pattern)) < SOON
        assert one.wait(place(1002, pattern)) < SOON


def test_three_hosts_find_each_other_and_a_stranger_finds_nobody() -> None:
    with lab(4) as made:
        stranger = finder(made, "h4", 1004, OTHER_KEY)
        ready(stranger)
        members = {1000 + number: finder(made, f"h{number}", 1000 + number) for number in (1, 2, 3)}
        ready(*members.values())
        for own, member in members.items():
            for port in members.keys() - {own}:
                member.wait(place(port, r"10\..*"))
                member.wait(place(port, r"fe80.*"))
        ready(late := finder(made, "h4", 1005, OTHER_KEY))
        late.wait(place(1004))
        assert not any(place(port)(line) for port in members for line in stranger.lines + late.lines)
        assert not any(
            place(port)(line) for port in (1004, 1005) for member in members.values() for line in member.lines
        )


def test_processes_of_one_host_find_each_other_and_all_hear_the_network() -> None:
    with lab(2) as made:
        near = [finder(made, "h1", 1001), finder(made, "h1", 1002)]
        ready(*near)
        near[0].wait(place(1002, "127.0.0.1"))
        near[1].wait(place(1001, "127.0.0.1"))
        far = finder(made, "h2", 1003)
        ready(far)
        for one in near:
            one.wait(place(1003, r"10\..*"))
        far.wait(place(1001))
        far.wait(place(1002))


def test_an_outsider_cannot_link_two_datagrams() -> None:
    with lab(2) as made:
        sniffer = Watched(made, "net", "sniffer", "p-h1")
        ready(sniffer)
        hurried = finder(made, "h1", 1001, rate=250)  # three times HELLO in 3 s, 750 s apart on its clock
        patient = finder(made, "h2", 1002)
        ready(hurried, patient)
        hurried.wait(place(1002))
        sniffer.wait(lambda line: len(set(sniffer.lines)) >= 13, 10)
        captured = {bytes.fromhex(line) for line in sniffer.lines if line != "ready"}
        assert {len(data) for data in captured} == {BEACON_BYTES}
        for first, second in combinations(captured, 2):
            pieces = {first[at : at + 8] for at in range(len(first) - 7)}
            assert not any(second[at : at + 8] in pieces for at in range(len(second) - 7))


def test_an_interface_that_appears_later_is_used() -> None:
    with lab(2, attached=["h1"]) as made:
        one, two = finder(made, "h1", 1001), finder(made, "h2", 1002)
        ready(one, two)
        made.attach("h2")
        one.wait(place(1002, r"10\..*"))
        two.wait(place(1001, r"10\..*"))
        one.wait(place(1002, r"fe80.*"))


def test_interfaces_that_vanish_and_cables_that_are_pulled_do_no_lasting_harm() -> None:
    with lab(2) as made:
        one, two = finder(made, "h1", 1001), finder(made, "h2", 1002)
        ready(one, two)
        one.wait(place(1002, r"10\..*"))
        for harm, mend in ((made.detach, made.attach), (made.cut, made.mend)):
            harm("h1")
            three = finder(made, "h1", 1003)  # takes a while to start, in which the first one notices
            ready(three)
            one.wait(place(1003, "127.0.0.1"))
            three.process.terminate()
            one.forget()
            two.forget()
            mend("h1")
            two.wait(place(1001, r"10\..*"))
            one.wait(place(1002, r"10\..*"))


NOISE = """
import os, random, socket, sys
to, port = sys.argv[1], int(sys.argv[2])
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as noise:
    noise.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    for size in [0, 1, 31, 32, 50, 51, 51, 51, 64, 65, 1280, 1400] * 100:
        noise.sendto(os.urandom(size), (to, port))
"""


def test_noise_is_ignored() -> None:
    with lab(3) as made:
        one = finder(made, "h1", 1001)
        ready(one)
        one.forget()
        for to in ("10.77.0.255", "10.77.0.1", "239.192.82.45"):
            done = made.run("h3", [sys.executable, "-c", f"import sys\n{NOISE}", to, "21037"])
            assert done.returncode == 0 or "unreachable" in done.stderr
        two = finder(made, "h2", 1002)
        ready(two)
        one.wait(place(1002))
        two.wait(place(1001))
        assert all(place(1002)(line) for line in one.lines)
        for watched in (one, two):
            watched.process.kill()
            assert watched.process.communicate()[1] == b""
