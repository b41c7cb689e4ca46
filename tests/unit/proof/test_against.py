"""Signals of two runners: paired once each, as many as can be, and what differs is named."""

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parity.model.errors import InputRefused, NothingCompared
from parity.proof.against import Against, Said, Tolerance, hold_against, matched
from parity.proof.messages import said_of


def said(ts: int, side: int = 1, token: int = 7, **more: object) -> Said:
    """Return a signal at a time."""
    base = Said(token, side, ts, "s", "paper", 100.0, 1.0, 0.5, f"seq {ts}", seq=ts)
    return base._replace(**more)


def held(run: list[Said], other: list[Said], **more: Any) -> Against:
    """Hold two lists against each other, exactly unless something else is said."""
    return hold_against(run, other, **({"tolerance": Tolerance()} | more))


SIGNALS = st.lists(st.builds(said, st.integers(0, 12), st.sampled_from([1, -1])), max_size=6)


@given(SIGNALS, SIGNALS, st.integers(0, 4))
def test_no_other_way_pairs_more(run: list[Said], other: list[Said], ts_event_ns: int) -> None:
    """Against every way to pair them: as many pairs, each within the tolerance, each once."""
    pairs, left, right = matched(run, other, ts_event_ns)

    assert all(a.side == b.side and abs(a.ts_event - b.ts_event) <= ts_event_ns for a, b in pairs)
    assert sorted([a for a, _ in pairs] + left) == sorted(run)
    assert sorted([b for _, b in pairs] + right) == sorted(other)
    small, large = sorted([run, other], key=len)
    fits = [
        [a.side == b.side and abs(a.ts_event - b.ts_event) <= ts_event_ns for b in large]
        for a in small
    ]
    ways = itertools.permutations(range(len(large)), len(small))
    best = max(sum(fits[n][at] for n, at in enumerate(way)) for way in ways)
    assert best == len(pairs)


@given(SIGNALS, SIGNALS, st.integers(0, 4))
def test_the_sides_are_alike(run: list[Said], other: list[Said], ts_event_ns: int) -> None:
    """Changed about, what only one side has changes sides, and nothing else moves."""
    pairs, left, right = matched(run, other, ts_event_ns)
    again, other_left, other_right = matched(other, run, ts_event_ns)

    assert len(pairs) == len(again)
    assert (len(left), len(right)) == (len(other_right), len(other_left))


def test_the_same_signals_are_the_same() -> None:
    """And what was compared is said; a field that a message lacks says nothing."""
    bare = said(2)._replace(price=None, quantity=None, confidence=None)
    found = held([said(1), said(2)], [said(1), bare])

    assert found.same
    assert {"signals": 2, "messages": 2, "matched": 2} == found.covered
    assert (0, 0, {}, []) == (found.only_run, found.only_against, found.unequal, found.differences)


def test_the_first_difference_is_the_first_in_time() -> None:
    """Whichever kind it is: a field, or a signal that one side has alone."""
    run = [said(1), said(5, price=101.0), said(9)]
    other = [said(1), said(3, side=-1), said(5), said(9, quantity=2.0)]
    found = held(run, other)

    assert [(3, "signal"), (5, "price"), (9, "quantity")] == [
        (d.ts_event, d.field) for d in found.differences
    ]
    first = found.first_divergence
    assert first is not None
    assert ("none", "SELL 1 at 100, seq 3") == (first.a, first.b)
    assert ({"price": 1, "quantity": 1}, 1, 0) == (
        found.unequal,
        found.only_against,
        found.only_run,
    )


@pytest.mark.parametrize(
    ("tolerance", "same"),
    [
        (Tolerance(), False),
        (Tolerance(ts_event_ns=5), False),
        (Tolerance(5, 0.25), True),
        (Tolerance(4, None), False),
        (Tolerance(5, None, None, None), True),
    ],
)
def test_tolerances_are_explicit(tolerance: Tolerance, same: bool) -> None:
    """Exact unless said otherwise; a bound is included; None is any distance."""
    found = held([said(10)], [said(15, price=100.25)], tolerance=tolerance)

    assert same == found.same


def test_the_same_strategy_is_paired_first() -> None:
    """Two strategies that say the same at once: each with its own name, then whoever is left."""
    run = [said(1, strategy_id="a"), said(1, strategy_id="b"), said(1, strategy_id="c")]
    other = [said(1, strategy_id=name) for name in ("old", "c", "b")]
    found = held(run, other)

    assert [("a", "old"), ("b", "b"), ("c", "c")] == [(n["run"], n["against"]) for n in found.names]


def test_signals_of_one_time_are_paired_in_the_order_of_their_file() -> None:
    """Line 10 comes behind line 9, whatever their text says."""
    run = [said(5, seq=5, price=1.0), said(5, seq=6, price=2.0)]
    other = [said(5, seq=0, price=float(n), place=f"f:{n + 8}") for n in (1, 2)]

    assert held(run, other).same


def test_a_name_that_both_sides_have_is_paired_with_itself_alone() -> None:
    """Run a, b, a against a, b, b: who said the third is a difference, and no renaming."""
    run = [said(1, strategy_id="a"), said(2, strategy_id="b"), said(3, strategy_id="a")]
    other = [said(1, strategy_id="a"), said(2, strategy_id="b"), said(3, strategy_id="b")]
    found = held(run, other)

    assert (1, 1) == (found.only_run, found.only_against)
    assert [("a", "a"), ("b", "b")] == [(n["run"], n["against"]) for n in found.names]


def test_a_name_that_the_run_only_dropped_under_is_a_name_it_has() -> None:
    """What it refused of that strategy is told as that, and not as another strategy's."""
    found = held(
        [said(1, strategy_id="b")],
        [said(1, strategy_id="a")],
        drops=[said(1, strategy_id="a", reason="cooldown")],
    )

    assert (1, 1) == (found.only_run, found.only_against)
    assert "the run dropped it: cooldown" in {d.cause for d in found.differences}


@given(st.lists(st.integers(0, 30)), st.integers(0, 30), st.integers(0, 5))
def test_the_cause_is_any_drop_within_the_tolerance(
    drops: list[int], at: int, ts_event_ns: int
) -> None:
    """Bounds included, whatever order the drops come in, against a look at each of them."""
    found = held(
        [],
        [said(at)],
        drops=[said(ts, reason=f"at {ts}") for ts in drops],
        tolerance=Tolerance(ts_event_ns),
    )
    near = sorted({f"at {ts}" for ts in drops if abs(ts - at) <= ts_event_ns})

    assert (f"the run dropped it: {', '.join(near)}" if near else "") == found.differences[0].cause


def test_what_the_run_refused_is_the_cause() -> None:
    """Where only the other side has a signal, the run's own reason for dropping it is named."""
    found = held(
        [said(1)], [said(1), said(4)], drops=[said(4, reason="cooldown"), said(4, side=-1)]
    )

    assert found.first_divergence is not None
    assert "the run dropped it: cooldown" == found.first_divergence.cause


def test_nothing_on_either_side_is_no_proof() -> None:
    """A comparison over nothing is an error; one side alone is a difference."""
    with pytest.raises(NothingCompared):
        held([], [])
    assert not held([said(1)], []).same
    assert not held([], [said(1)]).same


DATA = (
    '{"strategy_id":"x","instrument_token":5,"signal_type":"SELL","quantity":"1.5","price":2.25,'
    '"timestamp":"2025-01-06T14:30:00.000000001+05:30","confidence":75,"metadata":null}'
)


def test_an_open_run_is_known_up_to_the_newest_tick_of_each_instrument() -> None:
    """Another instrument that is ahead in time says nothing of one that lags, or never came."""
    other = [said(5), said(6), said(5, token=8), said(6, token=9)]
    found = held([said(1)], [said(1), *other], open_behind=({7: 5, 9: 9}, "behind"))

    assert [(5, 7), (6, 9)] == [(d.ts_event, d.instrument_token) for d in found.differences]
    assert {"behind": 2} == found.left_out


@pytest.mark.parametrize(
    "text",
    [
        DATA,
        '{"type":"trading_signal","broker":"zerodha","data":' + DATA + "}",
        '{"headers":{"run_id":"r"},"message":{"type":"trading_signal","data":' + DATA + "}}",
    ],
)
def test_a_message_in_each_of_its_forms(text: str) -> None:
    """Time to the ns with its zone, decimals as text, a percentage as a fraction."""
    found = said_of(text.encode(), "f:1")

    assert isinstance(found, Said)
    assert (5, -1, 1_736_154_000_000_000_001) == found[:3]
    assert ("x", 2.25, 1.5, 0.75, "f:1") == (
        found.strategy_id,
        found.price,
        found.quantity,
        found.confidence,
        found.place,
    )


def test_what_is_no_signal_is_left_out_or_refused() -> None:
    """HOLD and other types are told apart; what cannot be read is named with its place."""
    assert "hold" == said_of(DATA.replace("SELL", "HOLD").encode(), "f:1")
    assert "order_placed" == said_of(b'{"type":"order_placed","data":{}}', "f:1")
    wrong = [
        b"[]",
        b"{",
        b"{}",
        DATA.replace("SELL", "SHORT").encode(),
        DATA.replace("+05:30", "").encode(),
        DATA.replace('"1.5"', '"much"').encode(),
        DATA.replace('"instrument_token":5,', "").encode(),
        b'{"message":[]}',
    ]
    for payload in wrong:
        with pytest.raises(InputRefused, match="f:9"):
            said_of(payload, "f:9")
