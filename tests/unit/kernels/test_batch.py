"""Ordinals and clocks against plain loops, whatever the batches."""

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from parity.kernels.batch import ordinals, ordinals_and_clocks

TICKS = st.lists(st.tuples(st.integers(0, 3), st.integers(-3, 3)), max_size=50)


def expected_ordinals(ticks: list[tuple[int, int]]) -> list[int]:
    """Count, for each tick, how many of its instrument's newest ticks share its ts_event."""
    found = []
    for row, (inst, ts) in enumerate(ticks):
        own = [t for i, t in ticks[:row] if i == inst]
        run = 0
        while own and own.pop() == ts:
            run += 1
        found.append(run)
    return found


@given(TICKS, st.lists(st.integers(0, 50), max_size=6))
def test_batches_do_not_matter(ticks: list[tuple[int, int]], cuts: list[int]) -> None:
    """Ordinals, clocks and counts are those of the definition wherever batches end."""
    inst = np.array([i for i, _ in ticks], np.int32)
    ts = np.array([t for _, t in ticks], np.int64)
    ts.flags.writeable = False
    last_ts, run_length, clock, count = (np.zeros(4, np.int64) for _ in range(4))
    alone_ts, alone_run = np.zeros(4, np.int64), np.zeros(4, np.int64)
    out, alone = np.full(len(ticks), -1), np.full(len(ticks), -1)

    edges = [0, *sorted(min(c, len(ticks)) for c in cuts), len(ticks)]
    for lo, hi in itertools.pairwise(edges):
        part = slice(lo, hi)
        ordinals(inst[part], ts[part], alone_ts, alone_run, alone[part])
        ordinals_and_clocks(inst[part], ts[part], last_ts, run_length, clock, count, out[part])

    assert expected_ordinals(ticks) == out.tolist() == alone.tolist()
    for one in range(4):
        own = [t for i, t in ticks if i == one]
        assert len(own) == count[one]
        assert not own or max(own) == clock[one]
