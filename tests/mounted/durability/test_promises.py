"""What the crash tests take for a broken promise."""

import pytest

from tests.mounted.durability.promises import Promises, data_of

A, B, C = (data_of(seed, 1000) for seed in (1, 2, 3))
KEPT = [["create", "f"], ["write", "f", 0, 1, 1000], ["kept", "f"]]


@pytest.mark.parametrize(
    ("steps", "fine", "broken"),
    [
        ([], [None], [b""]),
        (KEPT[:1], [None, b""], [b"x"]),
        (KEPT[:2], [None, b"", A[:500], A, A[:500] + bytes(500)], [A + b"x", B]),
        (KEPT, [A], [None, b"", A[:999], A + b"x", B]),
        (
            [*KEPT, ["write", "f", 500, 2, 1000]],
            [A, A[:500] + B, A + B[500:], A[:700] + B[200:]],
            [A[:500], B + A[:500]],
        ),
        ([*KEPT, ["truncate", "f", 10]], [A, A[:10]], [b"", A[:11], None]),
        ([*KEPT, ["truncate", "f", 10], ["kept", "f"]], [A[:10]], [A]),
        ([*KEPT, ["truncate", "f", 10], ["truncate", "f", 20]], [A[:10] + bytes(10), A[:20], A], [B[:20]]),
        ([*KEPT, ["replace", "f", 2, 1000]], [A, B], [None, b"", A[:500] + B[500:]]),
        ([*KEPT, ["replace", "f", 2, 1000], ["named"]], [B], [A, None]),
        ([*KEPT, ["unlink", "f"]], [A, None], [b""]),
        ([*KEPT, ["unlink", "f"], ["named"]], [None], [A, b""]),
        ([*KEPT, ["rename", "f", "g"]], [A, None], [b"", B]),
        ([*KEPT, ["rename", "f", "g"], ["named"]], [None], [A]),
        (
            [*KEPT, ["rename", "f", "g"], ["write", "g", 500, 2, 1000]],
            [A, None, A[:500] + B],  # the bytes may outlive the crash where the name does not
            [B, B + A[:500]],
        ),
        ([["create", "g"], ["write", "g", 0, 1, 1000], ["rename", "g", "f"]], [A, None], [b"", A[:500] + bytes(500)]),
        ([*KEPT, ["replace", "f", 2, 1000], ["write", "f", 0, 3, 1000], ["kept", "f"]], [C], [A, B]),
    ],
)
def test_promises(steps: list[list[object]], fine: list[bytes | None], broken: list[bytes | None]) -> None:
    promises = Promises()
    promises.follow(steps)
    for content in fine:
        assert [fault for fault in promises.broken_by(_found(content)) if fault.startswith("f ")] == [], content
    for content in broken:
        assert any(fault.startswith("f ") for fault in promises.broken_by(_found(content))), content


def _found(content: bytes | None) -> dict[str, bytes]:
    return {} if content is None else {"f": content}
