"""The first place where two runs part: stream, tick, strategy, field, both values, and why.

Runs are compared record by record in the order they were decided; a comparison over nothing is an
error. Never here: running anything again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any, Final

import msgspec

from parity.model.errors import NothingCompared
from parity.model.values import SIDE_NAMES
from parity.recording.runs import STREAMS, RunFolder

Row = Mapping[str, Any]
Key = tuple[str, str]
# Fields in the order in which a reader wants the difference explained.
FIELDS: Final[dict[str, tuple[str, ...]]] = {
    "candidates": (
        "instrument_token",
        "ts_event",
        "ordinal",
        "side",
        "price",
        "quantity",
        "confidence",
        "metadata",
        "record",
    ),
    "decisions": (
        "instrument_token",
        "ts_event",
        "ordinal",
        "kind",
        "side",
        "price",
        "quantity",
        "reason",
        "price_exact",
        "quantity_exact",
        "commission_exact",
        "record",
    ),
}


# What a run wrote beside its records, which a replay by the same code gives again.
WRITTEN: Final[dict[str, tuple[str, ...]]] = {
    "candidates": (*FIELDS["candidates"], "seq"),
    "decisions": (*FIELDS["decisions"], "seq", "signal_no", "signal_id", "seen"),
}


class Divergence(msgspec.Struct, frozen=True, kw_only=True):
    """Where two runs first differ; `a` and `b` are the field's two values as text."""

    stream: str
    strategy_id: str
    broker: str
    instrument_token: int
    ts_event: int
    seq: int
    field: str
    a: str
    b: str
    cause: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return plain


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of a comparison, with what it covered."""

    same: bool
    first_divergence: Divergence | None
    covered: dict[str, int]
    changed: list[str] = []

    def to_json(self) -> dict[str, Any]:
        """Return the stable JSON form."""
        first = self.first_divergence
        return {
            "format": 1,
            "same": self.same,
            "first_divergence": None if first is None else first.to_json(),
            "covered": self.covered,
            "changed": self.changed,
        }

    def _repr_html_(self) -> str:
        from parity.recording.cards import difference_card

        return difference_card(self.to_json())


Streams = Mapping[str, Mapping[Key, Sequence[Row]]]


def streams_of(
    run: RunFolder, *, behind: int = 0, until: int | None = None, whole: bool = False
) -> dict[str, dict[Key, list[Row]]]:
    """Return a run's rows by stream and executor, behind one seq and up to another.

    Rows without a record (failures, transitions) only where asked for as a whole.
    """
    found = {}
    for stream in STREAMS:
        rows = (r for r in run.rows(stream, behind=behind) if r["seq"] > behind)
        upto = (r for r in rows if until is None or r["seq"] <= until)
        found[stream] = grouped(upto, whole=whole)
    return found


def grouped(rows: Iterable[Row], *, whole: bool = False) -> dict[Key, list[Row]]:
    """Return rows by (strategy_id, broker), in order: those with a record, or all."""
    found: dict[Key, list[Row]] = {}
    for row in rows:
        if whole or row["record"]:
            found.setdefault((row["strategy_id"], row["broker"]), []).append(row)
    return found


def compare(
    a: Streams,
    b: Streams,
    *,
    keys: Sequence[Key],
    ticks: int,
    whole: bool = False,
    numbered_alike: bool = True,
) -> Comparison:
    """Compare the records of the given executors.

    Args:
        a: first run's records.
        b: second run's records.
        keys: every executor that ran in either.
        ticks: ticks that both runs saw.
        whole: compare also what was written beside the records (a run with its replay).
        numbered_alike: one seq is one event in both; else only the times of records compare.

    Raises:
        NothingCompared: no ticks, or no executors.
    """
    if ticks == 0 or not keys:
        raise NothingCompared(
            f"nothing was compared: {ticks} ticks, {len(keys)} strategies",
            cure="compare runs that saw ticks; a proof over nothing proves nothing",
        )
    covered = {"ticks": ticks, "strategies": len(keys), "candidates": 0, "signals": 0, "fills": 0}
    found: list[Divergence] = []
    clock = _seq if numbered_alike else _time
    for stream in STREAMS:
        for key in keys:
            rows_a, rows_b = a[stream].get(key, []), b[stream].get(key, [])
            first = next(_differences(stream, key, rows_a, rows_b, whole, clock), None)
            if first is not None:
                found.append(first)
            _count(covered, stream, rows_a)
    first = min(found, key=_order if numbered_alike else _order_in_time, default=None)
    return Comparison(same=first is None, first_divergence=first, covered=covered)


def _order(divergence: Divergence) -> tuple[int, int, str, str]:
    stream = STREAMS.index(divergence.stream)
    return divergence.seq, stream, divergence.strategy_id, divergence.broker


def _order_in_time(divergence: Divergence) -> tuple[int, int, str, str]:
    return divergence.ts_event, *_order(divergence)[1:]


def _seq(row: Row) -> tuple[Any, ...]:
    return row["seq"], row.get("ts_event") or 0


def _time(row: Row) -> tuple[Any, ...]:
    return row["ts_event"], row["ordinal"], row["instrument_token"]


def _count(covered: dict[str, int], stream: str, rows: Sequence[Row]) -> None:
    if stream == "candidates":
        covered["candidates"] += len(rows)
        return
    covered["signals"] += sum(row["kind"] == "approved" for row in rows)
    covered["fills"] += sum(row["kind"] == "fill" for row in rows)


def _differences(
    stream: str,
    key: Key,
    rows_a: Sequence[Row],
    rows_b: Sequence[Row],
    whole: bool,
    clock: Callable[[Row], tuple[Any, ...]],
) -> Iterator[Divergence]:
    for row_a, row_b in zip_longest(rows_a, rows_b):
        if row_a is None or row_b is None:
            yield _only_one(stream, key, row_a, row_b)
        elif (row_a["record"] or b"") != (row_b["record"] or b""):
            if clock(row_a) != clock(row_b):
                pair = (row_a, None) if clock(row_a) < clock(row_b) else (None, row_b)
                yield _only_one(stream, key, *pair)
            else:
                yield _field(stream, key, row_a, row_b)
        elif whole and (name := _edited(stream, row_a, row_b)):
            yield _at(row_a, stream, key, name, _text(row_a.get(name)), _text(row_b.get(name)))


def _edited(stream: str, row_a: Row, row_b: Row) -> str | None:
    """Return the first column that differs although the records do not."""
    for name in WRITTEN[stream]:
        a, b = row_a.get(name), row_b.get(name)
        if name == "record" or (name == "reason" and row_a["kind"] == "failure"):
            continue  # compared already; the text of an exception may hold an address
        if name == "seen" and (name not in row_a or str(row_a["reason"]).endswith(":error")):
            continue  # a run of a version that did not write it, or again an exception's text
        if name in ("ts_event", "seen") and _is_bare_transition(row_a):
            continue  # likewise
        same = a == b or (a != a and b != b) or (not a and not b and None in (a, b))
        if not same:
            return name
    return None


def _is_bare_transition(row: Row) -> bool:
    """Say whether a change of state is of a version that wrote neither its time nor its reason."""
    return row.get("kind") == "transition" and not row.get("seen")


def _only_one(stream: str, key: Key, row_a: Row | None, row_b: Row | None) -> Divergence:
    row = row_a or row_b
    assert row is not None  # one of the two is always there
    said = _said(row)
    return _at(row, stream, key, "signal", said if row_a else "none", said if row_b else "none")


def _said(row: Row) -> str:
    kind = row.get("kind")
    if kind in ("failure", "transition"):
        return f"{kind} {row['reason']}"
    side = SIDE_NAMES.get(row["side"], str(row["side"]))
    text = f"{side} {row['quantity']:g} at {row['price']!r}"
    return f"{kind} {text}" if kind else text


def _field(stream: str, key: Key, row_a: Row, row_b: Row) -> Divergence:
    for name in FIELDS[stream]:
        if row_a[name] != row_b[name]:
            return _at(row_a, stream, key, name, _text(row_a[name]), _text(row_b[name]))
    return _at(row_a, stream, key, "record", _text(row_a["record"]), _text(row_b["record"]))


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.hex()
    return repr(value) if isinstance(value, float) else str(value)


def _at(row: Row, stream: str, key: Key, field: str, a: str, b: str) -> Divergence:
    return Divergence(
        stream=stream,
        strategy_id=key[0],
        broker=key[1],
        instrument_token=row.get("instrument_token") or 0,
        ts_event=row.get("ts_event") or 0,
        seq=row["seq"],
        field=field,
        a=a,
        b=b,
    )
