"""Every case of the table, in a plain directory and on the mount; both have to see the same."""

from pathlib import Path

import pytest

from tests.mounted.posix.case import ENDED_EARLY, Case, differences, record
from tests.mounted.posix.table import ALL_CASES, BEYOND_REACH


def _parameter(case: Case) -> object:
    long = (pytest.mark.soak, pytest.mark.timeout(900))  # 100,000 files take minutes on a plain disk, too
    marks = [*([pytest.mark.root] if case.root else ()), *(long if case.soak else ())]
    return pytest.param(case, id=case.name, marks=marks)


every_case = pytest.mark.parametrize("case", [_parameter(case) for case in ALL_CASES])


@every_case
def test_plain_directory(case: Case, plain_directory: Path, another_directory: Path) -> None:
    """A case ends, labels each observation once, and sees the same in two places: so it observes nothing by chance."""
    first, second = record(case, plain_directory), record(case, another_directory)
    labels = [label for label, _ in first]
    assert first
    assert ENDED_EARLY not in labels, dict(first)[ENDED_EARLY]
    assert len(labels) == len(set(labels)), sorted(label for label in labels if labels.count(label) > 1)
    assert not differences(first, second)


@pytest.mark.fuse
@every_case
def test_mount(case: Case, plain_directory: Path, mounted_directory: Path) -> None:
    """The mount shows what the plain directory shows."""
    found = differences(record(case, plain_directory), record(case, mounted_directory))
    different = [line for line in found if not any(out.match(f"{case.name}: {line}") for out, _ in BEYOND_REACH)]
    assert not different, f"{len(different)} differences\n" + "\n".join(different[:40])


def test_names_of_cases_are_different() -> None:
    assert len({case.name for case in ALL_CASES}) == len(ALL_CASES)


def test_differences_are_told() -> None:
    assert differences([("a", 1), ("b", 2)], [("a", 1), ("b", 3), ("c", 4)]) == [
        "b: plain 2, here 3",
        "c: plain '(nothing)', here 4",
    ]
