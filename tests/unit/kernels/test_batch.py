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
    carry,
    glance,
    group,
    ordinal,
    quotients,
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


@given(TICKS, st.lists(st.integers(0, 50), max_size=6), st.booleans())
def test_a_glance_says_and_carries_what_the_survey_does(
    ticks: list[Tick], cuts: list[int], far: bool
) -> None:
    """Batch by batch, rising times or not; where a tick is not delivered it says only that."""
    edges = [0, *sorted(min(c, len(ticks)) for c in cuts), len(ticks)]
    carried = np.zeros(4, np.int64), np.zeros(4, np.int64)
    for lo, hi in itertools.pairwise(edges):
        part = ticks[lo:hi]
        ts = np.array([t for _, t, _ in part], np.int64)
        flags = np.array([f for _, _, f in part], np.uint32)
        tokens = TOKENS[[i for i, _, _ in part]] if part else np.zeros(0, np.int64)
        known = (tokens, ts, flags, TOKENS, NONE if far else lookup(), MASKS)
        inst, last = np.full(len(part), -1, np.int32), np.full(4, -1, np.int64)
        said = glance(*known, inst, last)

        surveyed = carried[0].copy(), carried[1].copy()
        made = np.empty(len(part), np.int32), np.empty(len(part), np.int64), np.zeros(4, np.bool_)
        expected = survey(*known, *surveyed, *made)
        if expected & UNDELIVERED:
            assert said == UNDELIVERED
            carried = surveyed
            continue
        rising = not said & UNSORTED
        numbered = [ordinal(inst, ts, row, rising, *carried) for row in range(len(part))]
        assert made[1].tolist() == numbered
        carry(inst, ts, last, rising, *carried)
        assert expected == said
        assert made[0].tolist() == inst.tolist()
        rows = dict(zip(inst.tolist(), range(len(part)), strict=True))
        assert [rows.get(dense, -1) for dense in range(4)] == last.tolist()
        for one in np.flatnonzero(surveyed[1]).tolist():  # of others nothing is known yet
            assert (surveyed[0][one], surveyed[1][one]) == (carried[0][one], carried[1][one])


def test_many_instruments_of_one_time_are_carried_on() -> None:
    """A walk back for each would be a square, so most are counted in one pass over all rows."""
    count = 200_000
    inst = (np.arange(count) % 1_000).astype(np.int32)
    ts, last = np.ones(count, np.int64), np.arange(count - 1_000, count)
    carried = np.zeros(1_000, np.int64), np.zeros(1_000, np.int64)
    carry(inst, ts, last, True, *carried)

    assert {1} == set(carried[0].tolist())
    assert {count // 1_000} == set(carried[1].tolist())


def test_a_glance_knows_no_unknown_token() -> None:
    """Below, between and above the table's tokens."""
    for token in (0, 12, 5000, -(1 << 63)):
        tokens, ts, flags = np.array([11, token]), np.zeros(2, np.int64), np.ones(2, np.uint32)
        for near in (NONE, lookup()):
            made = np.zeros(2, np.int32), np.zeros(4, np.int64)
            assert glance(tokens, ts, flags.astype(np.uint32), TOKENS, near, MASKS, *made) == (
                UNKNOWN
            )


@given(st.lists(st.tuples(st.integers(-(2**63), 2**63 - 1), st.integers(0, 3)), max_size=50))
def test_quotients_are_those_of_numpy(rows: list[tuple[int, int]]) -> None:
    """Bit for bit, beyond 2**53 too."""
    divisors = np.array([1.0, 10.0, 1e5, 1e12])
    values = np.array([v for v, _ in rows], np.int64)
    inst = np.array([i for _, i in rows], np.int32)
    made = np.empty(len(rows))
    quotients(values, inst, divisors, made)

    assert (values / divisors[inst]).tobytes() == made.tobytes()


@given(st.lists(st.integers(0, 5), max_size=60))
def test_rows_are_grouped_by_instrument_and_rise(ids: list[int]) -> None:
    """Every instrument's rows stand together, rising, and no other row is among them."""
    inst = np.array(ids, np.int32)
    rows, starts = np.empty(len(ids), np.int64), np.empty(7, np.int64)

    group(inst, rows, starts)

    for dense in range(6):
        mine = rows[starts[dense] : starts[dense + 1]].tolist()
        assert [row for row, one in enumerate(ids) if one == dense] == mine
