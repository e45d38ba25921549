"""The doors we keep shut: long files, rooms without a purpose, stubs, module-level state, words that do not belong."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.project.shape import MAX_LINES, SHAPELESS, shape_faults

ROOT = Path(__file__).parents[2]
FOREIGN_WORDS = re.compile(
    "|".join(("/wor" + "k/", "/far" + "m/", r"\.librar" + "y", r"pypi\.or" + "g", r"files\.pythonhoste" + "d"))
    + "|"
    + "|".join(("registry\\.npmj" + "s", "deb\\.debia" + "n")),
    re.IGNORECASE,
)
"""Paths of one machine and hosts of package registries; split, so that this file does not hold them."""


def project_files() -> list[Path]:
    """Every file that git knows, or would take in."""
    command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listing = subprocess.run(command, capture_output=True, check=True).stdout
    return [path for name in listing.split(b"\0") if name and (path := ROOT / name.decode()).is_file()]


def python_files() -> list[Path]:
    """Every Python file of the project, scripts without a suffix included."""
    return [path for path in project_files() if path.suffix == ".py" or _is_python_script(path)]


def _is_python_script(path: Path) -> bool:
    with path.open("rb") as file:
        return not path.suffix and b"python" in file.readline(100) and path.parent.name == "scripts"


def test_no_file_is_long() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for path in python_files()
        if (lines := len(path.read_bytes().splitlines())) > MAX_LINES
    }
    assert not long


def test_no_room_without_a_purpose() -> None:
    assert not [path for path in python_files() if {path.stem, *path.relative_to(ROOT).parent.parts} & SHAPELESS]


def test_modules_have_the_shape() -> None:
    faults = [
        f"{path.relative_to(ROOT)}:{fault}"
        for path in sorted((ROOT / "syncfs").rglob("*.py"))
        for fault in shape_faults(path.read_text())
    ]
    assert not faults, "\n" + "\n".join(faults)


def test_every_directory_of_tests_is_a_package() -> None:
    """Otherwise two test modules of one name shadow each other."""
    assert not [path for path in (ROOT / "tests").rglob("test_*.py") if not (path.parent / "__init__.py").exists()]


def test_no_words_of_one_machine() -> None:
    found = []
    for path in project_files():
        for number, line in enumerate(path.read_bytes().decode(errors="replace").splitlines(), 1):
            if FOREIGN_WORDS.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}")
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize(
    "source",
    [
        '"""Doc."""\ncache = {}',
        '"""Doc."""\nimport collections\nqueue = collections.deque()',
        '"""Doc."""\nNAMES: list[str] = []\ndef note(name):\n    NAMES.append(name)',
        '"""Doc."""\nNAMES = {}\ndef note(name):\n    NAMES[name] = 1',
        '"""Doc."""\ndef note(name):\n    global last\n    last = name',
        '"""Doc."""\ndef later() -> int:\n    ...',
        '"""Doc."""\ndef later() -> int:\n    raise NotImplementedError',
        '"""Doc."""\nx = 1  # TO' + "DO: do it",
        "x = 1",
    ],
)
def test_a_planted_fault_is_caught(source: str) -> None:
    assert shape_faults(source)


@pytest.mark.parametrize(
    "source",
    [
        '"""Doc."""\nfrom typing import Final\nTABLE: Final = {1: 2}\nNAMES = ("a", "b")',
        '"""Doc."""\nfrom typing import Protocol\nclass Store(Protocol):\n    def get(self) -> int: ...',
        '"""Doc."""\nclass OddError(Exception):\n    """Odd."""',
        "",
    ],
)
def test_sound_shapes_pass(source: str) -> None:
    assert not shape_faults(source)
