"""Conflict names: readable, safe on any system, never too long, and telling their original name."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncfs.model.names import MARK, conflict_name, safe_device, split_extension
from syncfs.model.records import check_name

MORNING = 1_714_558_500 * 10**9
FILE_NAMES = st.binary(min_size=1, max_size=255).filter(
    lambda name: not {0, 47} & {*name} and name not in (b".", b"..")
)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (b"report.txt", b"report (conflict laptop 2024-05-01 101500).txt"),
        (b"archive.tar.gz", b"archive.tar (conflict laptop 2024-05-01 101500).gz"),
        (b"Makefile", b"Makefile (conflict laptop 2024-05-01 101500)"),
        (b".bashrc", b".bashrc (conflict laptop 2024-05-01 101500)"),
        (b"Dr. Who", b"Dr. Who (conflict laptop 2024-05-01 101500)"),
        (b"ends.", b"ends. (conflict laptop 2024-05-01 101500)"),
        (b"\xff\xfe.bin", b"\xff\xfe (conflict laptop 2024-05-01 101500).bin"),
    ],
)
def test_the_name_and_its_extension_stay(name: bytes, expected: bytes) -> None:
    assert conflict_name(name, "laptop", MORNING) == expected


def test_a_second_copy_is_counted() -> None:
    assert conflict_name(b"a.txt", "laptop", MORNING, 2) == b"a (conflict laptop 2024-05-01 101500 2).txt"


@pytest.mark.parametrize(
    ("device", "expected"),
    [
        ("laptop", "laptop"),
        ("Anna's  PC", "Anna's PC"),
        ("../etc/(x)\0", "-etc--x--"),
        ("", "unknown"),
        (" . ", "unknown"),
        ("größe" * 20, "größe" * 5 + "grö"),
        ("\ud800", "-"),
    ],
)
def test_device_names_are_made_safe(device: str, expected: str) -> None:
    assert safe_device(device) == expected


def test_a_long_name_is_cut_between_characters() -> None:
    name = conflict_name("ü".encode() * 120 + b".txt", "laptop", MORNING)
    assert len(name) <= 255
    assert name.decode().startswith("üü") and name.endswith(b"~" + name[name.index(b"~") + 1 :])
    assert name != conflict_name("ü".encode() * 121 + b".txt", "laptop", MORNING)


@given(FILE_NAMES, st.text(max_size=80), st.integers(-(2**63), 2**64), st.integers(1, 10**6))
def test_whatever_comes_it_is_a_name(name: bytes, device: str, time: int, count: int) -> None:
    made = conflict_name(name, device, time, count)
    check_name(made)
    assert MARK in made and made != name
    assert b"".join(split_extension(name)) == name


@given(FILE_NAMES, FILE_NAMES, st.text(max_size=20), st.text(max_size=20))
def test_copies_of_different_names_never_meet(name: bytes, other: bytes, device: str, second: str) -> None:
    if name != other:
        assert conflict_name(name, device, MORNING) != conflict_name(other, second, MORNING)
