"""A run's signals held against those that another runner said of the same market.

Two runners share no seq, no ids and perhaps no names: a signal is known by instrument, side and
time. Each is paired at most once, with one of the same strategy; one whose strategy the other side
does not know, with one that is as strange to it. What has no partner, and pairs whose fields
differ, are differences, in the order of time. Pure: lists in, an outcome out.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from parity.model.errors import NothingCompared
from parity.model.values import SIDE_NAMES
from parity.proof.diff import Divergence

DIFFERENCES_SHOWN: Final = 20
FIELDS: Final = ("price", "quantity", "confidence")


class Said(NamedTuple):
    """One signal, of either side; a field that its message does not have is None.

    Args:
        place: where it stands: seq, file and line, or topic, partition and offset.
        seq: of the run; 0 on the other side.
        reason: of a candidate that the run dropped; else empty.
    """

    instrument_token: int
    side: int
    ts_event: int
    strategy_id: str
    broker: str
    price: float | None
    quantity: float | None
    confidence: float | None
    place: str
    seq: int = 0
    reason: str = ""


class Tolerance(NamedTuple):
    """How far two signals may be apart and still be one; None is any distance."""

    ts_event_ns: int = 0
    price: float | None = 0.0
    quantity: float | None = 0.0
    confidence: float | None = 0.0


class Against(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome, with what it covered and what it left out."""

    same: bool
    first_divergence: Divergence | None
    covered: dict[str, int]
    only_run: int
    only_against: int
    unequal: dict[str, int]
    left_out: dict[str, int]
    tolerance: dict[str, float | int | None]
    names: list[dict[str, Any]]
    differences: list[Divergence]

    def to_json(self) -> dict[str, Any]:
        """Return the stable JSON form."""
        return {"format": 1, **msgspec.to_builtins(self)}


def hold_against(
    run: Sequence[Said],
    against: Sequence[Said],
    *,
    tolerance: Tolerance,
    drops: Sequence[Said] = (),
    left_out: Mapping[str, int] | None = None,
    open_behind: tuple[Mapping[int, int], str] | None = None,
) -> Against:
    """Pair the signals of two runners and name what differs.

    Args:
        run: the run's approved signals.
        against: the other's.
        tolerance: what still counts as one.
        drops: what the run refused, to say so where the other one has a signal.
        left_out: what was not compared, by reason; told as it is.
        open_behind: of a run that is open, the ts_event up to which its signals are known, ns, of
            each instrument that it saw, and the reason by which messages behind it without a
            partner are counted as left out.

    Raises:
        NothingCompared: neither has a signal.
    """
    if not run and not against:
        raise NothingCompared(
            "nothing was compared: neither side has a signal in the time of the run",
            cure="compare a run with what was published while its ticks came",
        )
    within = tolerance.ts_event_ns
    dropped = {one.strategy_id for one in drops}
    pairs, only_run, only_against = matched(run, against, within, dropped)
    told = Counter(left_out or {})
    if open_behind is not None:
        newest, never = open_behind[0], -(2**63)
        known = [s for s in only_against if s.ts_event <= newest.get(s.instrument_token, never)]
        told[open_behind[1]] += len(only_against) - len(known)
        only_against = known
    differences = [_difference(one, None) for one in only_run]
    differences += _refused(only_against, drops, within)
    unequal: Counter[str] = Counter()
    for ours, theirs in pairs:
        fields = [name for name in FIELDS if _apart(ours, theirs, name, tolerance)]
        unequal.update(fields)
        if fields:
            differences.append(_field(ours, theirs, fields[0]))
    differences.sort(key=lambda d: (d.ts_event, d.seq, d.instrument_token, d.strategy_id, d.field))
    named = Counter((ours.strategy_id, theirs.strategy_id) for ours, theirs in pairs)
    return Against(
        same=not differences,
        first_divergence=differences[0] if differences else None,
        covered={
            "signals": len(run),
            "messages": len(pairs) + len(only_against),
            "matched": len(pairs),
        },
        only_run=len(only_run),
        only_against=len(only_against),
        unequal={name: unequal[name] for name in FIELDS if unequal[name]},
        left_out={reason: count for reason, count in told.items() if count},
        tolerance=tolerance._asdict(),
        names=[
            {"run": ours, "against": theirs, "signals": count}
            for (ours, theirs), count in sorted(named.items())
        ],
        differences=differences[:DIFFERENCES_SHOWN],
    )


def _refused(
    only_against: Sequence[Said], drops: Sequence[Said], within: int
) -> Iterator[Divergence]:
    """Yield what only the other has, with why the run dropped it where it did."""
    refused = _by_key(drops)
    for one in only_against:
        near = refused.get((one.instrument_token, one.side), [])
        first = bisect_left(near, one.ts_event - within, key=_ts_of)
        last = bisect_right(near, one.ts_event + within, key=_ts_of)
        why = {drop.reason for drop in near[first:last]}
        cause = f"the run dropped it: {', '.join(sorted(why))}" if why else ""
        yield _difference(None, one, cause)


def matched(
    run: Sequence[Said],
    against: Sequence[Said],
    ts_event_ns: int,
    also: Collection[str] = (),
) -> tuple[list[tuple[Said, Said]], list[Said], list[Said]]:
    """Return pairs, and what is left of either side; as many pairs as one strategy allows.

    Args:
        run: signals of the one side.
        against: and of the other.
        ts_event_ns: how far a pair may be apart.
        also: names that the run has, though it has no signal of them.
    """
    pairs: list[tuple[Said, Said]] = []
    only_run: list[Said] = []
    only_against: list[Said] = []
    known = {one.strategy_id for one in run}.union(also) & {one.strategy_id for one in against}
    left, right = (_by_key(said, lambda one: _name_of(one, known)) for said in (run, against))
    for group in sorted({*left, *right}):
        found = _paired(left.get(group, []), right.get(group, []), ts_event_ns)
        pairs += found[0]
        only_run += found[1]
        only_against += found[2]
    return pairs, only_run, only_against


def _paired(
    left: Sequence[Said], right: Sequence[Said], ts_event_ns: int
) -> tuple[list[tuple[Said, Said]], list[Said], list[Said]]:
    # Both in the order of time: the earliest that can still be one, is; no other way gives more.
    pairs, only_left, only_right = [], [], []
    at = 0
    for one in left:
        while at < len(right) and right[at].ts_event < one.ts_event - ts_event_ns:
            only_right.append(right[at])
            at += 1
        if at < len(right) and right[at].ts_event <= one.ts_event + ts_event_ns:
            pairs.append((one, right[at]))
            at += 1
        else:
            only_left.append(one)
    return pairs, only_left, [*only_right, *right[at:]]


def _name_of(one: Said, known: Collection[str]) -> tuple[bool, str]:
    """Return what a signal is grouped by: the name where both sides have it, else nothing."""
    return (True, one.strategy_id) if one.strategy_id in known else (False, "")


def _ts_of(one: Said) -> int:
    return one.ts_event


def _by_key(said: Iterable[Said], key: Any = None) -> dict[tuple[Any, ...], list[Said]]:
    found: dict[tuple[Any, ...], list[Said]] = defaultdict(list)
    # What is alike in all of it keeps its order, which is that of the file or topic it is from.
    for one in sorted(said, key=lambda s: (s.ts_event, s.strategy_id, s.seq)):
        place = (one.instrument_token, one.side)
        found[place if key is None else (*place, key(one))].append(one)
    return found


def _apart(ours: Said, theirs: Said, name: str, tolerance: Tolerance) -> bool:
    allowed = getattr(tolerance, name)
    a, b = getattr(ours, name), getattr(theirs, name)
    if allowed is None or a is None or b is None:
        return False  # a message without the field says nothing of it
    return not (a == b or abs(a - b) <= allowed)


def _difference(ours: Said | None, theirs: Said | None, cause: str = "") -> Divergence:
    one = ours or theirs
    assert one is not None  # one of the two is always there
    text = f"{SIDE_NAMES[one.side]} {_text(one.quantity)} at {_text(one.price)}, {one.place}"
    return _at(one, "signal", text if ours else "none", text if theirs else "none", cause)


def _field(ours: Said, theirs: Said, name: str) -> Divergence:
    a, b = getattr(ours, name), getattr(theirs, name)
    return _at(ours, name, f"{a!r}, {ours.place}", f"{b!r}, {theirs.place}", "")


def _text(value: float | None) -> str:
    return "?" if value is None else f"{value!r}".removesuffix(".0")


def _at(one: Said, field: str, a: str, b: str, cause: str) -> Divergence:
    return Divergence(
        stream="signals",
        strategy_id=one.strategy_id,
        broker=one.broker,
        instrument_token=one.instrument_token,
        ts_event=one.ts_event,
        seq=one.seq,
        field=field,
        a=a,
        b=b,
        cause=cause,
    )
