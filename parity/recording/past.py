"""The past that a run is warmed from: the last ticks of a recording, or what a provider gives.

It is kept as a sealed recording of its own, under the run's instrument table, so that a start that
was cut short finds the same ticks again, whatever became of where they are from. Never here: what
a run does with them, or where live ticks join.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from parity.model import ticks as flag
from parity.model.errors import ConfigError, InputRefused
from parity.model.events import EventBatch
from parity.model.extensions import PRESENT
from parity.model.ticks import TickBatch
from parity.recording.export import Numbered
from parity.recording.slices import LastRows, needs_of, shown_to
from parity.recording.writer import RecordingWriter

if TYPE_CHECKING:
    from pathlib import Path

    from parity.model.instruments import InstrumentTable
    from parity.model.protocols import HistoryProvider
    from parity.recording.reader import Recording
    from parity.recording.slices import Needs

Ints = npt.NDArray[np.int64]
_LOOKED_AT: Final = ("seq", "ts_event", "instrument_token", "flags")


class RecordedPast:
    """The ticks of a recording as a HistoryProvider.

    Args:
        recording: from `open_recording`; it ends where it ended when it was opened.
    """

    def __init__(self, recording: Recording) -> None:
        self.recording = recording

    def last_ticks(self, token: int, count: int) -> EventBatch:
        """Return the last `count` trades of an instrument and as many quotes, in their order.

        Raises:
            ConfigError: the recording has no such instrument.
        """
        table = self.recording.table
        table.by_token(token)
        last = _last_of(self.recording, needs_of(count, [token]))
        pieces = list(_chosen(self.recording, table, [token], *last))
        if not pieces:
            return EventBatch(TickBatch.empty(table))
        records = np.concatenate([piece.to_records() for piece in pieces])
        return EventBatch(TickBatch.from_records(records, table))


def keep_past(
    recording: Recording,
    out: Path,
    table: InstrumentTable,
    needs: Needs | None,
    tokens: Collection[int] | None = None,
    *,
    created_by: str,
    origin: Mapping[str, Any],
) -> None:
    """Write the last ticks of a recording as a recording of their own, or nothing at all.

    Gaps among them come along. Ticks that no strategy was shown, and instruments that the table
    has not, are left out.

    Args:
        recording: where they are from.
        out: folder of the new recording; must not exist.
        table: of the run; what an instrument's prices and quantities are counted in must be equal.
        needs: ticks by (kind, token); None is all that there are.
        tokens: the run's instruments, where it reads only some of the table's.
        created_by: for people.
        origin: for its manifest; the recording's id is added.

    Raises:
        ConfigError: no instrument in common, or one that is counted in other decimals.
    """
    common = [t for t in _common(recording, table) if tokens is None or t in tokens]
    everything = needs is None and bool(common)
    seqs, since = (None, None) if everything else _last_of(recording, needs or {})
    first = 0 if seqs is None else int(seqs[0]) if len(seqs) else 2**63
    gaps = [c for c in recording.controls() if c.verb == "gap" and c.seq > first]
    numbered = Numbered(gaps)
    with RecordingWriter(
        out,
        table,
        order=recording.manifest.order,
        created_by=created_by,
        streams=recording.manifest.streams,
        origin={"recording_id": recording.manifest.recording_id, **origin},
    ) as writer:
        for ticks in _chosen(recording, table, common, seqs, since):
            numbers, mine = numbered.among(ticks.column("seq"))
            columns = {name: ticks.column(name) for name in ticks.names} | {"seq": numbers}
            writer.append(TickBatch(columns, table), mine)
        writer.append(TickBatch.empty(table), numbered.rest())


def keep_given(
    provider: HistoryProvider,
    out: Path,
    table: InstrumentTable,
    needs: Needs,
    *,
    created_by: str,
    origin: Mapping[str, Any],
) -> None:
    """Write what a provider gives as a recording, or nothing at all.

    The ticks of one instrument stay in the order they are given in. Of several, the one whose
    `ts_event` is smaller comes first; a late one comes with the ticks it stood behind.

    Raises:
        InputRefused: it gives ticks of another instrument.
        ConfigError: its decimals are not the table's.
    """
    with RecordingWriter(
        out, table, order="ts_event", created_by=created_by, origin=origin
    ) as writer:
        writer.append(gathered(provider, table, needs))


def trade_ids(past: Recording) -> dict[int, Ints]:
    """Return the trade ids of every instrument that has ticks there, in their order."""
    found: dict[int, list[Ints]] = {}
    for batch in past.batches(columns=("instrument_token", "trade_id", "flags")):
        ticks = batch.ticks
        having = (ticks.column("flags") & np.uint32(flag.NO_TRADE_ID)) == 0
        for token in np.unique(ticks.column("instrument_token")).tolist():
            own = having & (ticks.column("instrument_token") == token)
            found.setdefault(token, []).append(ticks.column("trade_id")[own])
    return {token: np.concatenate(pieces) for token, pieces in found.items()}


def _common(recording: Recording, table: InstrumentTable) -> list[int]:
    tokens = [one.token for one in recording.table if one.token in table]
    if not tokens:
        raise ConfigError(
            f"{recording.path}: it has none of the run's instruments",
            cure="warm up from a recording of them, or name its table: --instrument-table",
        )
    _check_scales(recording.table, table, tokens, str(recording.path))
    return tokens


def _check_scales(
    theirs: InstrumentTable, ours: InstrumentTable, tokens: list[int], where: str
) -> None:
    for token in tokens:
        a, b = theirs.by_token(token), ours.by_token(token)
        for what in ("price", "quantity"):
            was, wanted = (getattr(one, f"{what}_scale") for one in (a, b))
            if was != wanted:
                raise ConfigError(
                    f"{where}: instrument {token} has a {what} of {was} decimals there, and of "
                    f"{wanted} in the run's instrument table",
                    cure="give the run that recording's table: --instrument-table",
                )


def _last_of(recording: Recording, needs: Needs) -> tuple[Ints, int | None]:
    """Return the seqs of the last ticks of each kind and instrument, rising, and the least time.

    Of these ticks themselves: one of them that is late is not before it.
    """
    latest = {key: LastRows(count) for key, count in needs.items() if key[1] in recording.table}
    tokens = sorted({token for _, token in latest})
    for batch in recording.batches(columns=_LOOKED_AT, instruments=tokens):
        seq, ts_event, of = (batch.ticks.column(n) for n in _LOOKED_AT[:3])
        shown = shown_to(batch.ticks.column("flags"))
        for (kind, token), rows in latest.items():
            own = shown[kind] & (of == token)
            if own.any():
                rows.take(seq[own], ts_event[own])
    kept = np.concatenate([np.zeros((2, 0), np.int64), *(r.rows for r in latest.values())], axis=1)
    return np.unique(kept[0]), int(kept[1].min()) if kept.size else None


def _chosen(
    recording: Recording,
    table: InstrumentTable,
    tokens: list[int],
    seqs: Ints | None,
    since_ns: int | None,
) -> Iterator[TickBatch]:
    """Yield ticks with the seq they had, flagged WARMUP, under the run's table."""
    if seqs is not None and not len(seqs):
        return
    for batch in recording.batches(instruments=tokens, start_ns=since_ns):
        ticks = batch.ticks
        rows = (ticks.column("flags") & np.uint32(flag.UNDELIVERED)) == 0
        if seqs is not None:
            rows &= np.isin(ticks.column("seq"), seqs)
        if rows.any():
            yield _under(ticks.take(np.flatnonzero(rows)), table)


def _under(ticks: TickBatch, table: InstrumentTable) -> TickBatch:
    """Return ticks as another table has them; an extension column that only one has is left out."""
    columns: dict[str, npt.NDArray[Any]] = {}
    theirs, ours = ticks.table.columns, table.columns
    present = np.zeros(len(ticks), np.uint64)
    for name in ours.names:
        if name not in ours.extensions and name != PRESENT:
            columns[name] = ticks.column(name)
        elif theirs.extensions.get(name) == ours.extensions.get(name) and name != PRESENT:
            columns[name] = ticks.column(name)
            there = (ticks.column(PRESENT) & np.uint64(theirs.bits[name])) != 0
            present |= np.where(there, np.uint64(ours.bits[name]), np.uint64(0))
        else:
            columns[name] = np.zeros(len(ticks), ours.dtype[name])
    if PRESENT in columns:
        columns[PRESENT] = present
    columns["flags"] = columns["flags"] | np.uint32(flag.WARMUP)
    return TickBatch(columns, table)


def gathered(provider: HistoryProvider, table: InstrumentTable, needs: Needs) -> TickBatch:
    """Return what a provider gives of all instruments, flagged WARMUP, with seq from 1.

    Raises:
        InputRefused: it gives ticks of another instrument.
        ConfigError: its decimals are not the table's.
    """
    pieces, times = [np.zeros(0, table.tick_dtype)], [np.zeros(0, np.int64)]
    for token in sorted({token for _, token in needs}):
        count = max(n for (_, own), n in needs.items() if own == token)
        ticks = provider.last_ticks(token, count).ticks
        where = f"{type(provider).__name__}.last_ticks({token}, {count})"
        others = set(ticks.column("instrument_token").tolist()) - {token}
        if others:
            raise InputRefused(f"{where}: it gave ticks of instrument {min(others)}")
        if not len(ticks):
            continue
        _check_scales(ticks.table, table, [token], where)
        shown = (ticks.column("flags") & np.uint32(flag.UNDELIVERED)) == 0
        records = _under(ticks.take(np.flatnonzero(shown)), table).to_records()
        pieces.append(records)
        times.append(np.maximum.accumulate(records["ts_event"]))
    order = np.argsort(np.concatenate(times), kind="stable")
    records = np.concatenate(pieces)[order]
    records["seq"] = np.arange(1, len(records) + 1)
    return TickBatch.from_records(records, table)
