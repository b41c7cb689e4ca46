"""The first divergence of two runs: what is named, in which order, and what must never pass.

Three fixtures are traps that another replay engine falls into: nothing recorded, a window cut
short, repeated signals dropped. A fourth, an identical NaN, is no mismatch.
"""

import math
from typing import Any

import pytest
from candidate_rows import said

from parity.model.errors import NothingCompared
from parity.proof.diff import Comparison, Row, compare
from parity.testing.generators import ONE

KEY = ("dip", "paper")


def decided(seq: int, kind: str = "approved", **changed: Any) -> dict[str, Any]:
    """Return a decision row at a seq."""
    blank = dict.fromkeys(("reason", "price_exact", "quantity_exact", "commission_exact"))
    row = said(seq, **changed)
    row["record"] = kind[0].upper().encode() + row["record"]
    return {**blank, "signal_no": None, "signal_id": None, **row, "kind": kind, **changed}


def compared(a: list[Row], b: list[Row], *, ticks: int = 20, whole: bool = False) -> Comparison:
    """Compare two runs of one strategy by their candidates."""
    left: dict[str, Any] = {"candidates": {KEY: a}, "decisions": {}}
    right: dict[str, Any] = {"candidates": {KEY: b}, "decisions": {}}
    return compare(left, right, keys=[KEY], ticks=ticks, whole=whole)


def test_the_same_records_are_the_same() -> None:
    """Equal runs have no divergence, and the comparison counts what it covered."""
    found = compared([said(1), said(2)], [said(1), said(2)])

    assert found.same
    assert found.first_divergence is None
    assert {
        "ticks": 20,
        "strategies": 1,
        "candidates": 2,
        "signals": 0,
        "fills": 0,
    } == found.covered


@pytest.mark.parametrize(
    ("field", "value", "a", "b"),
    [
        ("instrument_token", 202, "101", "202"),
        ("ordinal", 1, "0", "1"),
        ("side", -1, "1", "-1"),
        ("price", 100.00000000000001, "100.0", "100.00000000000001"),
        ("quantity", 2.0, "1.0", "2.0"),
        ("confidence", 0.5000000000000001, "0.5", "0.5000000000000001"),
        ("metadata", '{"z":1}', "{}", '{"z":1}'),
    ],
)
def test_the_first_field_that_differs_is_named(field: str, value: Any, a: str, b: str) -> None:
    """Any field of a record, down to the last bit of a float, is found and shown."""
    first = compared([said(1), said(2)], [said(1), said(2, **{field: value})]).first_divergence

    assert first is not None
    assert ("candidates", *KEY, 2, field) == (
        first.stream,
        first.strategy_id,
        first.broker,
        first.seq,
        first.field,
    )
    assert (a, b) == (first.a, first.b)


@pytest.mark.parametrize(("drop", "a", "b"), [("a", "none", "BUY"), ("b", "BUY", "none")])
def test_a_signal_of_one_run_only_is_named(drop: str, a: str, b: str) -> None:
    """A signal that one run lacks is the divergence, not the one behind it."""
    whole, part = [said(n) for n in (1, 2, 3)], [said(n) for n in (1, 3)]
    found = compared(part, whole) if drop == "a" else compared(whole, part)
    first = found.first_divergence

    assert first is not None
    assert (2, "signal") == (first.seq, first.field)
    assert first.a.startswith(a)
    assert first.b.startswith(b)


def test_the_earliest_divergence_wins() -> None:
    """Of several strategies and streams, the smallest seq is named; candidates before decisions."""
    other = ("zag", "paper")
    a: dict[str, Any] = {
        "candidates": {KEY: [said(5)], other: [said(3)]},
        "decisions": {other: [decided(3)]},
    }
    b: dict[str, Any] = {
        "candidates": {KEY: [said(5, side=-1)], other: [said(3, side=-1)]},
        "decisions": {other: [decided(3, side=-1)]},
    }
    first = compare(a, b, keys=[KEY, other], ticks=9).first_divergence

    assert first is not None
    assert (3, "zag", "candidates") == (first.seq, first.strategy_id, first.stream)


def test_a_comparison_over_nothing_is_refused() -> None:
    """No ticks, or no strategies: nothing was compared, which is never a success."""
    empty: dict[str, Any] = {"candidates": {}, "decisions": {}}
    for keys, ticks in (([KEY], 0), ([], 20)):
        with pytest.raises(NothingCompared, match="nothing was compared"):
            compare(empty, empty, keys=keys, ticks=ticks)


def test_trap_one_side_recorded_nothing() -> None:
    """A run that recorded no signal at all does not equal one that has some."""
    assert not compared([], [said(1)]).same
    assert not compared([said(1)], []).same


def test_trap_a_window_cut_short() -> None:
    """Five of twenty signals compared is not all of them, though the five agree."""
    found = compared([said(n) for n in range(1, 21)], [said(n) for n in range(1, 6)])

    assert not found.same
    assert found.first_divergence is not None
    assert 6 == found.first_divergence.seq


def test_trap_dropped_repeats() -> None:
    """Twenty equal BUYs in a row are twenty events: two of them are not the same."""
    found = compared([said(n) for n in range(1, 21)], [said(1), said(20)])

    assert not found.same
    assert found.first_divergence is not None
    assert 2 == found.first_divergence.seq


@pytest.mark.parametrize("whole", [False, True])
def test_trap_an_identical_nan_is_no_mismatch(whole: bool) -> None:
    """NaN beside NaN is equal, whatever Python's == says; so is -0.0 beside 0.0 in a record."""
    nan = [said(1, price=math.nan)]

    assert compared(nan, [said(1, price=-math.nan)], whole=whole).same
    assert compared([said(1, price=-0.0)], [said(1, price=0.0)], whole=whole).same
    assert not compared(nan, [said(1)], whole=whole).same


def test_whole_finds_what_stands_beside_the_records() -> None:
    """With equal records, an edited column is still found where whole rows are compared."""
    a, b = [said(1)], [{**said(1), "price": 99.0}]

    assert compared(a, b).same
    first = compared(a, b, whole=True).first_divergence
    assert first is not None
    assert ("price", "100.0", "99.0") == (first.field, first.a, first.b)


def test_whole_compares_failures_by_place() -> None:
    """A failure at another tick is a divergence; the text of its exception is not compared."""

    def failure(seq: int, text: str) -> dict[str, Any]:
        return {
            "seq": seq,
            "kind": "failure",
            "instrument_token": ONE,
            "reason": text,
            "record": None,
        }

    def streams(*rows: dict[str, Any]) -> dict[str, Any]:
        return {"candidates": {}, "decisions": {KEY: list(rows)}}

    same = compare(
        streams(failure(3, "at 0x1")),
        streams(failure(3, "at 0x2")),
        keys=[KEY],
        ticks=9,
        whole=True,
    )
    moved = compare(
        streams(failure(3, "x")), streams(failure(4, "x")), keys=[KEY], ticks=9, whole=True
    )
    none = compare(streams(failure(3, "x")), streams(decided(5)), keys=[KEY], ticks=9, whole=True)

    assert same.same
    assert not moved.same
    assert none.first_divergence is not None
    assert "failure x" == none.first_divergence.a


@pytest.mark.parametrize(
    ("a", "b", "field"),
    [
        ({"ts_event": None}, {"ts_event": 5}, "ts_event"),
        ({}, {"ts_event": 6}, "ts_event"),
        ({}, {"seen": '{"because": "retry"}'}, "seen"),
        ({}, {"reason": "WARMUP -> ERROR"}, "reason"),
        ({"ts_event": None, "seen": None}, {}, None),
        ({"ts_event": None, "seen": None}, {"reason": "WARMUP -> ERROR"}, "reason"),
    ],
)
def test_changes_of_state_are_compared(
    a: dict[str, Any], b: dict[str, Any], field: str | None
) -> None:
    """Reason, time and cause; but the last two not with a run that was written without both."""
    blank = dict.fromkeys(decided(3)) | {"kind": "transition", "seq": 3, "record": None}
    row = {**blank, "ts_event": 5, "reason": "WARMUP -> ACTIVE", "seen": '{"because": "warm"}'}
    left, right = ({"candidates": {}, "decisions": {KEY: [row | one]}} for one in (a, b))

    first = compare(left, right, keys=[KEY], ticks=9, whole=True).first_divergence

    assert field == (None if first is None else first.field)
