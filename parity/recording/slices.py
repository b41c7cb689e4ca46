"""A slice of a recording: which ticks of a time range, and which before it as warm-up.

Found in one pass over four columns, whatever the size: only warm-up ticks are remembered one by
one. Ticks are chosen by `ts_event` and stay in `seq` order. Never here: writing.

Warm-up ticks of an instrument are the last ones a strategy saw before the range, and those that
stand in `seq` between its first and last tick of the range without being in it (late ones). They
are flagged WARMUP: shown to strategies, decided on by nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from parity.model import ticks as flag
from parity.model.errors import InputRefused
from parity.recording.inspect import iso

if TYPE_CHECKING:
    from parity.model.ticks import TickBatch
    from parity.recording.reader import Recording

Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Progress = Callable[[int, int], None]
KINDS: Final = ("trades", "quotes")  # what a strategy's `on` says
_COLUMNS: Final = ("seq", "ts_event", "instrument_token", "flags")
_NEVER: Final = 2**63 - 1


class Range(NamedTuple):
    """Ticks with ts_event in [start_ns, end_ns) of some instruments; None leaves a side open."""

    tokens: tuple[int, ...] | None = None
    start_ns: int | None = None
    end_ns: int | None = None

    def holds(self, ts_event: Ints) -> Mask:
        """Return which instants are in the range."""
        inside = np.ones(len(ts_event), np.bool_)
        if self.start_ns is not None:
            inside &= ts_event >= self.start_ns
        if self.end_ns is not None:
            inside &= ts_event < self.end_ns
        return inside

    def words(self) -> str:
        """Return it for a message."""
        start = "the first" if self.start_ns is None else iso(self.start_ns)
        end = "the last" if self.end_ns is None else iso(self.end_ns)
        of = "" if self.tokens is None else f" of instruments {', '.join(map(str, self.tokens))}"
        return f"from {start} to {end}{of}"


# How many ticks before the range are wanted: (kind, token) -> ticks.
Needs = Mapping[tuple[str, int], int]


class LastRows:
    """The last ticks of one instrument and kind that were taken, as (seq, ts_event)."""

    __slots__ = ("_rows", "_wanted")

    def __init__(self, wanted: int) -> None:
        self._wanted = wanted
        self._rows = np.zeros((2, 0), np.int64)

    def take(self, seq: Ints, ts_event: Ints) -> None:
        """Take its next ticks."""
        latest = np.stack([seq[-self._wanted :], ts_event[-self._wanted :]])
        self._rows = np.concatenate([self._rows, latest], axis=1)[:, -self._wanted :]

    @property
    def rows(self) -> Ints:
        """The seqs, and below them the times."""
        return self._rows


class _Seen(msgspec.Struct):
    """What was found of one instrument."""

    ticks: int = 0  # in the range
    first: int = _NEVER  # seq of its first tick in the range
    last: int = 0
    first_ns: int = _NEVER  # of any tick of the recording
    last_ns: int = -_NEVER
    low_ns: int = _NEVER  # of what stands in seq between the first and the last in the range
    high_ns: int = -_NEVER
    waiting_ns: tuple[int, int] = (_NEVER, -_NEVER)  # of what stands behind the last one so far

    def take(self, seq: Ints, ts_event: Ints, inside: Mask) -> None:
        """Take its next ticks."""
        self.first_ns = min(self.first_ns, int(ts_event.min()))
        self.last_ns = max(self.last_ns, int(ts_event.max()))
        rows = np.flatnonzero(inside)
        if len(rows):
            start = 0 if self.ticks else int(rows[0])
            times = ts_event[start : rows[-1] + 1]
            self.low_ns = min(self.low_ns, self.waiting_ns[0], int(times.min()))
            self.high_ns = max(self.high_ns, self.waiting_ns[1], int(times.max()))
            self.waiting_ns = (_NEVER, -_NEVER)
            self.ticks += len(rows)
            self.first, self.last = min(self.first, int(seq[rows[0]])), int(seq[rows[-1]])
            ts_event = ts_event[rows[-1] + 1 :]
        if self.ticks and len(ts_event):
            low, high = self.waiting_ns
            self.waiting_ns = (min(low, int(ts_event.min())), max(high, int(ts_event.max())))


class Slice(msgspec.Struct, frozen=True, kw_only=True):
    """Which ticks of a recording are in a slice.

    Args:
        range: the time range and instruments asked for.
        tokens: the instruments, in token order.
        ticks: how many ticks are in the range, by token.
        before: seqs of the warm-up ticks before the range, rising.
        warm: whether late ticks outside of the range are carried as warm-up.
        bounds: first and last seq in the range, by token.
        span_ns: smallest and largest ts_event of everything carried.
        warmed: instruments that have any warm-up before the range.
        short: instruments with fewer warm-up ticks than wanted: (kind, token, found, wanted).
    """

    range: Range
    tokens: tuple[int, ...]
    ticks: dict[int, int]
    before: Any
    warm: bool
    bounds: dict[int, tuple[int, int]]
    span_ns: tuple[int, int]
    warmed: set[int]
    short: list[tuple[str, int, int, int]]

    @property
    def seqs(self) -> tuple[int, int]:
        """The first and last seq in the range, warm-up left out."""
        firsts, lasts = zip(*self.bounds.values(), strict=True)
        return min(firsts), max(lasts)

    def choose(self, ticks: TickBatch) -> tuple[Ints, Mask]:
        """Return the rows of a batch that are in the slice, and which of them are warm-up."""
        seq, tokens = ticks.column("seq"), ticks.column("instrument_token")
        inside = self.range.holds(ticks.column("ts_event"))
        if not self.warm:
            rows = np.flatnonzero(inside)
            return rows, np.zeros(len(rows), np.bool_)
        carried = np.isin(seq, self.before)
        delivered = (ticks.column("flags") & np.uint32(flag.UNDELIVERED)) == 0
        for token, (first, last) in self.bounds.items():
            carried |= delivered & (tokens == token) & (seq > first) & (seq < last)
        rows = np.flatnonzero(inside | carried)
        return rows, ~inside[rows]


def find_slice(
    recording: Recording, wanted: Range, needs: Needs, progress: Progress | None = None
) -> Slice:
    """Find the ticks of a slice.

    Args:
        recording: from `open_recording`.
        wanted: the range.
        needs: warm-up ticks by (kind, token); empty carries none.
        progress: called with (ticks looked at, ticks of the recording).

    Raises:
        ConfigError: an unknown token.
        InputRefused: no tick is in the range; names the range the recording has.
    """
    tokens = tuple(sorted(set(wanted.tokens or recording.table.tokens.tolist())))
    seen = {token: _Seen() for token in tokens}
    wanting = {key: count for key, count in needs.items() if count and key[1] in seen}
    before = {key: (LastRows(count), LastRows(count)) for key, count in wanting.items()}
    done = 0
    for batch in recording.batches(columns=_COLUMNS, instruments=wanted.tokens):
        done += len(batch.ticks)
        if len(batch.ticks):
            _look(batch.ticks, wanted, seen, before)
        if progress is not None:
            progress(done, recording.tick_rows)
    bounds = {token: (one.first, one.last) for token, one in seen.items() if one.ticks}
    if not bounds:
        raise _empty(recording, wanted, seen.values())
    chosen = {key: pair[key[1] not in bounds].rows for key, pair in before.items()}
    joined = np.concatenate([np.zeros((2, 0), np.int64), *chosen.values()], axis=1)
    joined = joined[:, joined[0] < max(last for _, last in bounds.values())]
    return Slice(
        range=wanted,
        tokens=tokens,
        ticks={token: one.ticks for token, one in seen.items()},
        before=np.unique(joined[0]),
        warm=bool(needs),
        bounds=bounds,
        span_ns=_span(seen.values(), joined[1]),
        warmed={token for (_, token), rows in chosen.items() if rows.shape[1]},
        short=[
            (*key, rows.shape[1], needs[key])
            for key, rows in chosen.items()
            if rows.shape[1] < needs[key] and key[1] in bounds
        ],
    )


def _look(
    ticks: TickBatch,
    wanted: Range,
    seen: Mapping[int, _Seen],
    before: Mapping[tuple[str, int], tuple[LastRows, LastRows]],
) -> None:
    seq, ts_event, tokens = (ticks.column(n) for n in ("seq", "ts_event", "instrument_token"))
    inside = wanted.holds(ts_event)
    early = ts_event < (-_NEVER if wanted.start_ns is None else wanted.start_ns)
    shown = shown_to(ticks.column("flags"))
    for token in np.unique(tokens).tolist():
        own = tokens == token
        one = seen[token]
        one.take(seq[own], ts_event[own], inside[own])
        for kind in KINDS:
            if (kind, token) in before:
                # All that stands before its first tick of the range; where it never has one, only
                # what is older than the range.
                rows = own & shown[kind] & (seq < one.first)
                for latest, some in zip(before[kind, token], (rows, rows & early), strict=True):
                    latest.take(seq[some], ts_event[some])


def shown_to(flags: npt.NDArray[np.uint32]) -> dict[str, Mask]:
    """Return which ticks strategies `on: trades` and `on: quotes` are shown."""
    delivered = (flags & np.uint32(flag.UNDELIVERED)) == 0
    trades = (flags & np.uint32(flag.TRADE_LIKE)) != 0
    trades &= (flags & np.uint32(flag.NO_PRICE)) == 0
    quotes = (flags & np.uint32(flag.QUOTE)) != 0
    quotes &= (flags & np.uint32(flag.NO_BID | flag.NO_ASK)) == 0
    return {"trades": trades & delivered, "quotes": quotes & delivered}


def _span(seen: Iterable[_Seen], before_ns: Ints) -> tuple[int, int]:
    # What is read again: everything carried lies in it, and little else.
    found = [one for one in seen if one.ticks]
    low = min(one.low_ns for one in found)
    high = max(one.high_ns for one in found)
    return min([low, *before_ns.tolist()]), max([high, *before_ns.tolist()])


def _empty(recording: Recording, wanted: Range, seen: Iterable[_Seen]) -> InputRefused:
    found = [one for one in seen if one.first_ns != _NEVER]
    has = "it has no tick of these instruments"
    if found:
        first, last = min(o.first_ns for o in found), max(o.last_ns for o in found)
        has = f"its ticks are from {iso(first)} to {iso(last)}"
    return InputRefused(
        f"{recording.path}: no tick {wanted.words()}: {has}",
        cure="name a range that it has; parity inspect shows where its ticks lie",
    )


def needs_of(count: int, tokens: Sequence[int]) -> dict[tuple[str, int], int]:
    """Return the same number of warm-up ticks for every instrument and kind."""
    return {(kind, int(token)): count for kind in KINDS for token in tokens} if count else {}
