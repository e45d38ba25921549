"""How segments are merged: few are left, and nothing is rewritten often."""

import math

import pytest

from syncfs.engine.feeds.ageing import FAN_IN, MAX_MERGED_BYTES, MAX_MERGED_RECORDS, merge_plan


@pytest.mark.parametrize("size", [1, MAX_MERGED_BYTES // 50, MAX_MERGED_BYTES // 3, MAX_MERGED_BYTES])
def test_few_segments_are_left_and_a_record_is_rewritten_a_few_times(size: int) -> None:
    segments: list[tuple[int, int]] = []
    rewritten, count = 0, 3_000
    for _ in range(count):
        segments.append((1, size))
        while (plan := merge_plan(segments)) is not None:
            chosen = segments[plan]
            assert len(chosen) >= 2
            merged = sum(records for records, _ in chosen), sum(taken for _, taken in chosen)
            assert merged[0] <= MAX_MERGED_RECORDS and merged[1] <= MAX_MERGED_BYTES
            rewritten += merged[0]
            segments[plan] = [merged]
    full = min(MAX_MERGED_RECORDS, MAX_MERGED_BYTES // size)
    tiers = math.ceil(math.log(count, FAN_IN)) + 1
    assert sum(records for records, _ in segments) == count
    assert len(segments) <= 2 * count / full + FAN_IN * tiers
    assert rewritten <= tiers * count


def test_full_segments_among_small_ones_are_left_alone() -> None:
    full, small = (300, MAX_MERGED_BYTES), (1, 100)
    assert merge_plan([full, *[small] * FAN_IN]) == slice(1, 1 + FAN_IN)
    assert merge_plan([*[small] * 3, full, *[small] * 3, full]) in (None, slice(0, 3))
    assert merge_plan([full, full, full]) is None
