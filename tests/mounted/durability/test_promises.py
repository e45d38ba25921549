"""What the crash tests take for a broken promise."""

import pytest

from tests.mounted.durability.promises import Promises, data_of

A, B, C = (data_of(seed, 1000) for seed in (1, 2, 3))
LONG = data_of(4, 10_000)
KEPT = [["create", "f"], ["write", "f", 0, 1, 1000], ["kept", "f"]]


@pytest.mark.parametrize(
    ("steps", "fine", "broken"),
    [
        ([], [None], [b""]),
        (KEPT[:1], [None, b""], [b"x"]),
        (KEPT[:2], [None, b"", A], [A[:500], A[:500] + bytes(500), A + b"x", B]),
        ([*KEPT[:2], ["syncing", "f"]], [None, b"", A, A[:500] + bytes(500)], [A[:500], A + b"x", B]),
        (KEPT, [A], [None, b"", A[:999], A + b"x", B]),
        ([*KEPT, ["write", "f", 500, 2, 1000]], [A, A[:500] + B], [A + B[500:], A[:700] + B[200:], A[:500]]),
        (
            [*KEPT, ["write", "f", 500, 2, 1000], ["syncing", "f"]],
            [A, A[:500] + B, A + B[500:], A[:700] + B[200:]],
            [A[:500], B + A[:500]],
        ),
        (
            [*KEPT, ["write", "f", 0, 2, 100], ["write", "f", 900, 3, 100]],
            [A, B[:100] + A[100:], B[:100] + A[100:900] + C[:100]],
            [A[:900] + C[:100]],  # the later write without the earlier one
        ),
        (
            [*KEPT, ["write", "f", 500, 4, 10_000]],
            [A, A[:500] + LONG, A[:500] + LONG[:3596], A[:500] + LONG[:7692]],  # up to the end of a page
            [A[:500] + LONG[:3600], A[:500] + LONG[:4096], A[:500] + bytes(3596), A + LONG[500:3596]],
        ),
        (
            [["create", "f"], ["write", "f", 0, 4, 10_000], ["kept", "f"], ["write", "f", 0, 5, 9000]],
            [LONG, data_of(5, 9000) + LONG[9000:], data_of(5, 9000)[:4096] + LONG[4096:]],
            [data_of(5, 9000)[:5000] + LONG[5000:], LONG[:4096] + data_of(5, 9000)[4096:] + LONG[9000:]],
        ),
        ([*KEPT, ["truncate", "f", 10]], [A, A[:10]], [b"", A[:11], None]),
        ([*KEPT, ["truncate", "f", 10], ["kept", "f"]], [A[:10]], [A]),
        ([*KEPT, ["truncate", "f", 10], ["truncate", "f", 20]], [A[:10] + bytes(10), A[:10], A], [A[:20], B[:20]]),
        (
            [*KEPT, ["truncate", "f", 10], ["truncate", "f", 20], ["syncing", "f"]],
            [A[:10] + bytes(10), A[:20], A[:10], A],
            [B[:20], A[:15]],
        ),
        ([*KEPT, ["replace", "f", 2, 1000]], [A, B], [None, b"", A[:500] + B[500:]]),
        ([*KEPT, ["replace", "f", 2, 1000], ["named"]], [B], [A, None]),
        ([*KEPT, ["unlink", "f"]], [A, None], [b""]),
        ([*KEPT, ["unlink", "f"], ["named"]], [None], [A, b""]),
        ([*KEPT, ["rename", "f", "g"]], [A, None], [b"", B]),
        ([*KEPT, ["rename", "f", "g"], ["named"]], [None], [A]),
        (
            [*KEPT, ["write", "f", 0, 2, 1000], ["rename", "f", "g"], ["write", "g", 500, 3, 1000], ["syncing", "g"]],
            [A, B, None],
            [B[:500] + C, A[:500] + C, A[:500] + B[500:]],  # nothing of what came after the rename
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
