"""Durations: every quantile against the sorted values, sums of parts, and what a file may hold."""

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from parity.recording.histogram import NS_MAX, SUB_BUCKETS, Durations

SPANS = st.one_of(st.integers(0, 200), st.integers(0, 10**7), st.integers(0, NS_MAX))


def of(values: list[int]) -> Durations:
    """Return durations of some values."""
    found = Durations()
    for value in values:
        found.add(value)
    return found


@given(st.lists(SPANS, min_size=1), st.sampled_from([0.001, 0.5, 0.9, 0.99, 0.999, 1.0]))
@example([63, 64, 65, 127, 128], 0.5)
@example([NS_MAX], 1.0)
def test_a_quantile_is_the_exact_one_to_a_32nd(values: list[int], share: float) -> None:
    """Never below the exact value, and above it by at most the width of its bucket."""
    exact = sorted(values)[max(1, math.ceil(share * len(values))) - 1]
    found = of(values).quantile(share)

    assert exact <= found <= exact + exact // SUB_BUCKETS


@given(st.lists(SPANS), st.lists(SPANS))
def test_parts_added_up_are_the_whole(first: list[int], second: list[int]) -> None:
    """What a restart reads back and goes on with is as if there had been no restart."""
    parts = of(second)
    parts.merge(of(first).to_json())

    assert of(first + second).to_json() == parts.to_json()
    assert sum(first + second) == parts.sum_ns
    assert max(first + second, default=0) == parts.max_ns
    assert len(first + second) == parts.count


@given(st.lists(SPANS), st.lists(st.integers(0, NS_MAX), min_size=1))
def test_what_lies_below_a_bound_never_lies_above_it(values: list[int], bounds: list[int]) -> None:
    """Counts by bound are sound: none above it, and all that are a bucket below it."""
    for bound, count in zip(bounds, of(values).below(bounds), strict=True):
        assert count <= sum(v <= bound for v in values)
        assert count >= sum(v + v // SUB_BUCKETS < bound for v in values)


def test_none_and_too_much() -> None:
    """Nothing has no quantile but 0; a clock that went back and a life too long are counted."""
    assert (0, 0, 0) == (of([]).quantile(0.5), of([]).max_ns, of([]).count)
    assert (0, NS_MAX, 2) == (of([-5]).max_ns, of([2**60]).max_ns, of([-5, 2**60]).count)


def test_many_are_folded_on_the_way() -> None:
    """More than are kept apart are all counted, before and after they are looked at."""
    found = of(list(range(10_000)))

    assert 10_000 == found.count
    assert 9_999 == found.quantile(1.0)
    assert 10_000 == found.below([NS_MAX])[0] == found.count


@pytest.mark.parametrize("bucket", [[-1, 1], [10**6, 1], [5, -1]])
def test_a_file_that_holds_no_durations_is_refused(bucket: list[int]) -> None:
    """A bucket that there is not, or fewer than none, is no count."""
    with pytest.raises(ValueError, match="bucket"):
        Durations().merge({"buckets": [bucket], "sum_ns": 0, "max_ns": 0})
