"""The survey of a batch against plain loops, whatever the batches."""

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from parity.kernels.batch import (
    NOT_ALL_TRADES,
    UNDELIVERED,
    UNKNOWN,
    UNSORTED,
    UNTIMED,
    group,
    survey,
)
from parity.model import ticks as flag

TOKENS = np.array([11, 25, 300, 4000], np.int64)
MASKS = np.array([flag.UNDELIVERED, flag.TRADE_LIKE, flag.NO_PRICE, flag.NO_VENUE_TIME], np.uint32)
FLAGS = st.sampled_from(
    [
        *[flag.TRADE] * 6,
        flag.TRADE | flag.DUPLICATE,
        flag.QUOTE,
        flag.TRADE | flag.NO_PRICE,
        flag.TRADE | flag.NO_VENUE_TIME,
    ]
)
TICKS = st.lists(st.tuples(st.integers(0, 3), st.integers(-3, 3), FLAGS), max_size=50)
Tick = tuple[int, int, int]


def expected_ordinals(ticks: list[Tick]) -> list[int]:
    """Count, for each delivered tick, how many of its instrument's newest share its ts_event."""
    found = []
    for row, (inst, ts, flags) in enumerate(ticks):
        own = [t for i, t, f in ticks[:row] if i == inst and not f & flag.UNDELIVERED]
        run = 0
        while own and own.pop() == ts:
            run += 1
        found.append(0 if flags & flag.UNDELIVERED else run)
    return found


def expected_bits(ticks: list[Tick]) -> int:
    """Say of one batch what the survey is to say."""
    shown = [(ts, flags) for _, ts, flags in ticks if not flags & flag.UNDELIVERED]
    times = [ts for ts, _ in shown]
    trades = all(f & flag.TRADE_LIKE and not f & flag.NO_PRICE for _, f in shown)
    return (
        UNDELIVERED * (len(shown) < len(ticks))
        | UNSORTED * (times != sorted(times))
        | NOT_ALL_TRADES * (not trades)
        | UNTIMED * any(f & flag.NO_VENUE_TIME for _, f in shown)
    )


NONE = np.zeros(0, np.int32)


def lookup() -> np.ndarray:
    """Return dense ids by distance from the first token."""
    near = np.full(TOKENS[-1] - TOKENS[0] + 1, -1, np.int32)
    near[TOKENS - TOKENS[0]] = range(len(TOKENS))
    return near


@given(TICKS, st.lists(st.integers(0, 50), max_size=6), st.booleans())
def test_batches_do_not_matter(ticks: list[Tick], cuts: list[int], far: bool) -> None:
    """Ordinals, dense ids and who is there are those of the definition wherever batches end."""
    tokens = TOKENS[[i for i, _, _ in ticks]] if ticks else np.zeros(0, np.int64)
    ts = np.array([t for _, t, _ in ticks], np.int64)
    flags = np.array([f for _, _, f in ticks], np.uint32)
    ts.flags.writeable = False
    last_ts, run_length = np.zeros(4, np.int64), np.zeros(4, np.int64)
    inst, out = np.full(len(ticks), -1, np.int32), np.full(len(ticks), -1, np.int64)

    edges = [0, *sorted(min(c, len(ticks)) for c in cuts), len(ticks)]
    for lo, hi in itertools.pairwise(edges):
        part = slice(lo, hi)
        near = NONE if far else lookup()
        columns = (tokens[part], ts[part], flags[part], TOKENS, near, MASKS)
        here = np.zeros(len(TOKENS), np.bool_)
        said = survey(*columns, last_ts, run_length, inst[part], out[part], here)

        assert expected_bits(ticks[part]) == said
        shown = {i for i, _, f in ticks[part] if not f & flag.UNDELIVERED}
        assert shown == set(np.flatnonzero(here).tolist())

    assert expected_ordinals(ticks) == out.tolist()
    assert [i for i, _, _ in ticks] == inst.tolist()


def test_an_unknown_token_is_said() -> None:
    """A token that is not in the table is told apart from every other finding."""
    for token in (0, 12, 5000):
        tokens, ts, flags = np.array([11, token]), np.zeros(2, np.int64), np.ones(2, np.uint32)
        carried = np.zeros(4, np.int64), np.zeros(4, np.int64)
        made = np.zeros(2, np.int32), np.zeros(2, np.int64), np.zeros(4, np.bool_)

        for near in (NONE, lookup()):
            assert survey(tokens, ts, flags, TOKENS, near, MASKS, *carried, *made) == UNKNOWN


@given(st.lists(st.integers(0, 5), max_size=60))
def test_rows_are_grouped_by_instrument_and_rise(ids: list[int]) -> None:
    """Every instrument's rows stand together, rising, and no other row is among them."""
    inst = np.array(ids, np.int32)
    rows, starts = np.empty(len(ids), np.int64), np.empty(7, np.int64)

    group(inst, rows, starts)

    for dense in range(6):
        mine = rows[starts[dense] : starts[dense + 1]].tolist()
        assert [row for row, one in enumerate(ids) if one == dense] == mine
