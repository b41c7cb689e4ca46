"""Ticks over time: exact however they come, bounded, and shown within the terminal."""

import datetime as dt
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parity.cli import histogram as shown
from parity.recording.histogram import BUCKETS_MAX, DAY, HOUR, LADDER, Histogram

NS = 1_000_000_000


def filled(times: list[int], dense: list[int], *, instruments: int = 2, cut: int = 7) -> Histogram:
    """Count ticks in pieces."""
    histogram = Histogram(instruments)
    for at in range(0, len(times), cut):
        piece = np.array(times[at : at + cut], np.int64)
        histogram.add(piece, np.array(dense[at : at + cut], np.int32))
    return histogram


def ns(text: str) -> int:
    """Return an instant."""
    return int(dt.datetime.fromisoformat(text + "+00:00").timestamp()) * NS


def test_each_width_divides_the_next() -> None:
    """So widening loses nothing, and buckets stay aligned."""
    assert all(b % a == 0 for a, b in pairwise(LADDER))


@given(
    st.lists(
        st.tuples(st.integers(-(2**63), 2**63 - 1), st.integers(0, 1)), min_size=1, max_size=60
    ),
    st.integers(1, 9),
    st.sampled_from((1, 1, 10**6, 10**9, 10**12, 10**15)),
    st.integers(30, 80),
)
def test_counts_are_exact_whatever_the_times(
    ticks: list[tuple[int, int]], cut: int, closer: int, most: int
) -> None:
    """Against counting each tick alone; never more buckets than asked for, on any order."""
    times = [time // closer for time, _ in ticks]
    histogram = filled(times, [dense for _, dense in ticks], cut=cut)
    width, buckets = histogram.within(most)

    assert len(buckets) <= max(most, 2**64 // LADDER[-1] + 2)
    assert histogram.width_ns <= width
    for start, counts in buckets:
        inside = [
            dense
            for time, (_, dense) in zip(times, ticks, strict=True)
            if 0 <= time - start < width
        ]
        assert [inside.count(0), inside.count(1)] == counts
    assert len(ticks) == sum(sum(counts) for _, counts in buckets)


def test_many_instruments_are_counted_together() -> None:
    """Memory does not grow with their number."""
    histogram = filled([0, 1, 2], [0, 5, 4000], instruments=5000)

    assert (False, [3]) == (histogram.apart, histogram.within(10)[1][0][1])


def test_json_leaves_out_empty_buckets() -> None:
    """Starts in ns, ticks, and by instrument."""
    found = filled([0, 1, 5 * HOUR], [0, 1, 0]).to_json([11, 12])

    assert [11, 12] == found["instruments"]
    assert (2, [1, 1]) == (found["buckets"][0]["ticks"], found["buckets"][0]["by_instrument"])
    assert 3 == sum(one["ticks"] for one in found["buckets"])
    assert len(found["buckets"]) == 2 <= BUCKETS_MAX


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("instruments", [1, 2, 8])
def test_lines_fit_and_a_weekend_shows(
    monkeypatch: pytest.MonkeyPatch, columns: int, instruments: int
) -> None:
    """A line for each bucket, also the empty ones, none wider than the terminal."""
    monkeypatch.setattr(shown, "width", lambda: columns)
    times = [ns("2025-01-03T00:00:00") + n * HOUR for n in range(24)]
    times += [ns("2025-01-06T00:00:00") + n * HOUR for n in range(24)]
    histogram = filled(times, [n % instruments for n in range(48)], instruments=instruments)
    lines = shown.histogram_of(histogram, [f"SYMBOL{n}" for n in range(instruments)])

    assert max(map(len, lines)) <= columns
    saturday = [line for line in lines if line.startswith("2025-01-04 Sat")]
    assert [1] == [len(saturday)]
    empty = lines[lines.index(saturday[0]) :][:8]
    assert not any("█" in line or "▏" in line for line in empty)
    assert "ticks over time by ts_event, UTC, 3 h a line" == lines[0]


def test_what_is_not_zero_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    """One tick beside a million has a bar; without UTF-8 it is made of #."""
    monkeypatch.setattr(shown, "width", lambda: 60)
    histogram = Histogram(1)
    histogram.add(np.repeat([0, DAY], [1_000_000, 1]), np.zeros(1_000_001, np.int32))
    lines = shown.histogram_of(histogram, ["A"])
    monkeypatch.setattr(shown, "_unicode", lambda: False)

    assert lines[-1].endswith("▏")
    assert shown.histogram_of(histogram, ["A"])[-1].endswith("1 #")
