"""The sequencer: order becomes a fact. Each event gets its seq, each tick its verdicts, once.

Pure: arrays in, arrays out; never a clock, a file or a network. One rule per verdict, applied tick
by tick in arrival order, so that the result never depends on how records are cut into batches:

* DUPLICATE: (offset, sub) is not beyond the last one seen of its stream, or its trade id is among
  the last `TRADE_IDS_KEPT` different ones of its token. Never by value: equal prints can be real.
* SKEWED: `ts_event` is more than `max_skew_ns` ahead of `ts_recv`; not judged where one is absent.
* LATE: `ts_event` is behind the largest one delivered of its instrument. A tick without venue time
  is never late and advances nothing, unless its instrument lives by `clock: recv`. A duplicate or
  skewed tick is not delivered, so it advances nothing and is not late on top.

Small batches take a loop over unpacked records, large ones numpy; a law test holds them equal.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from parity.model import ticks as flag
from parity.model.ticks import TICK_DTYPE

if TYPE_CHECKING:
    from parity.model.events import EventBatch
    from parity.model.instruments import InstrumentTable

TRADE_IDS_KEPT: Final = 4096
SMALL: Final = 128  # below, the loop is faster than numpy's fixed costs
MAX_SKEW_NS: Final = 5_000_000_000
_NEVER: Final = -(2**63)
_NO_SKEW: Final = flag.NO_TS_RECV | flag.NO_VENUE_TIME
_VERDICTS: Final = flag.DUPLICATE | flag.SKEWED | flag.LATE

_READ: Final = (
    "ts_event", "ts_recv", "instrument_token", "trade_id", "flags", "stream", "offset", "sub",
)  # fmt: skip
_CODES: Final = {"<i8": "q", "<i4": "i", "<u4": "I"}
_RECORD = struct.Struct(
    "<" + "".join(
        _CODES[kind.str] if name in _READ else f"{kind.itemsize}x"
        for name, kind in ((n, TICK_DTYPE[n]) for n in flag.COLUMNS)
    )
)  # fmt: skip
_SEQ = struct.Struct("<q")
_FLAGS = struct.Struct("<I")
_FIELDS: Any = TICK_DTYPE.fields
_SEQ_AT: Final[int] = _FIELDS["seq"][1]
_FLAGS_AT: Final[int] = _FIELDS["flags"][1]


class Sequencer:
    """Gives seq and verdicts to everything that enters a run, in arrival order.

    Args:
        table: every token must be in it; an unknown one raises InputRefused.
        next_seq: seq of the next event.
        max_skew_ns: how far ts_event may be ahead of ts_recv.
    """

    def __init__(
        self, table: InstrumentTable, *, next_seq: int = 1, max_skew_ns: int = MAX_SKEW_NS
    ) -> None:
        self.next_seq = next_seq
        self._table = table
        # Extension columns lie behind the tick columns: skipped, never judged.
        beyond = table.tick_dtype.itemsize - _RECORD.size
        self._record = struct.Struct(f"{_RECORD.format}{beyond}x") if beyond else _RECORD
        self._max_skew_ns = max_skew_ns
        self._by_recv = [i.clock == "recv" for i in table]
        self._dense = {i.token: n for n, i in enumerate(table)}
        self._newest = [_NEVER] * len(table)  # largest delivered ts_event, by dense id
        self._streams: dict[int, tuple[int, int]] = {}  # stream -> last (offset, sub)
        self._trade_ids: dict[int, _SeenIds] = {}

    def sequence(self, records: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Set seq and verdicts of records in arrival order; in place where they are writable.

        CATCH_UP and WARMUP, which the source knows, are kept; verdicts brought along are not.
        """
        if not (records.flags.writeable and records.flags.c_contiguous):
            records = records.copy()
        count = len(records)
        if count == 0:
            return records
        if count < SMALL:
            self._judge_few(records)
        else:
            self.sequence_columns(records)
        return records

    def sequence_columns(self, columns: Any) -> None:
        """Do the same for columns by their names, of ticks in arrival order, one or more.

        Args:
            columns: a mapping, or an array of records; its `flags` and `seq` are set anew.
        """
        dense = self._table.dense(np.ascontiguousarray(columns["instrument_token"]))
        count = len(dense)
        columns["flags"] = self._judge(columns, dense)
        columns["seq"] = np.arange(self.next_seq, self.next_seq + count, dtype=np.int64)
        self.next_seq += count

    def take_seq(self) -> int:
        """Return the seq for one control."""
        self.next_seq += 1
        return self.next_seq - 1

    def observe(self, batch: EventBatch) -> None:
        """Take in events that were sequenced before (a journal, after a restart)."""
        if len(batch.ticks):
            self.sequence(batch.ticks.to_records())
        self.next_seq = batch.last_seq + 1

    def snapshot(self) -> dict[str, Any]:
        """Return the state as plain values."""
        return {
            "next_seq": self.next_seq,
            "newest": {
                int(token): ts
                for token, ts in zip(self._table.tokens, self._newest, strict=True)
                if ts != _NEVER
            },
            "streams": {stream: list(last) for stream, last in self._streams.items()},
            "trade_ids": {
                token: [seen.largest, seen.ids()] for token, seen in self._trade_ids.items()
            },
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a snapshot; the instrument table may have grown."""
        self.next_seq = state["next_seq"]
        self._newest = [_NEVER] * len(self._table)
        for token, ts in state["newest"].items():
            self._newest[self._table.dense_id(int(token))] = ts
        self._streams = {int(s): (last[0], last[1]) for s, last in state["streams"].items()}
        self._trade_ids = {
            int(token): _SeenIds(kept, largest)
            for token, (largest, kept) in state["trade_ids"].items()
        }

    # -- the loop, which is also the definition

    def _judge_few(self, records: npt.NDArray[Any]) -> None:
        rows = list(self._record.iter_unpack(records.tobytes()))
        dense = [self._dense.get(row[2], -1) for row in rows]
        if -1 in dense:  # before anything has changed
            self._table.dense(np.array([row[2] for row in rows], np.int64))
        judged = []
        streams, newest, max_skew_ns = self._streams, self._newest, self._max_skew_ns
        for at, row in zip(dense, rows, strict=True):
            ts_event, ts_recv, token, trade_id, flags, stream, offset, sub = row
            seen = False
            if stream >= 0:
                last = streams.get(stream)
                if last is not None and (offset, sub) <= last:
                    seen = True
                else:
                    streams[stream] = (offset, sub)
            if not flags & flag.NO_TRADE_ID and self._ids_of(token).add(trade_id):
                seen = True
            flags = flags & ~_VERDICTS | (flag.DUPLICATE if seen else 0)
            if not flags & _NO_SKEW and ts_event - ts_recv > max_skew_ns:
                flags |= flag.SKEWED
            elif not seen and (not flags & flag.NO_VENUE_TIME or self._by_recv[at]):
                if ts_event < newest[at]:
                    flags |= flag.LATE
                else:
                    newest[at] = ts_event
            judged.append(flags)
        self._write_back(records, judged)

    def _write_back(self, records: npt.NDArray[Any], judged: list[int]) -> None:
        into: Any = records  # struct writes into any buffer
        if len(judged) > 3:
            records["flags"] = judged
            records["seq"] = np.arange(self.next_seq, self.next_seq + len(judged))
        else:
            size = self._record.size
            for n, flags in enumerate(judged):
                _FLAGS.pack_into(into, n * size + _FLAGS_AT, flags)
                _SEQ.pack_into(into, n * size + _SEQ_AT, self.next_seq + n)
        self.next_seq += len(judged)

    def _ids_of(self, token: int) -> _SeenIds:
        found = self._trade_ids.get(token)
        if found is None:
            found = self._trade_ids[token] = _SeenIds((), _NEVER)
        return found

    # -- the same in numpy

    def _judge(self, records: Any, dense: npt.NDArray[np.int32]) -> npt.NDArray[np.uint32]:
        flags: npt.NDArray[np.uint32] = records["flags"] & np.uint32(~_VERDICTS & 0xFFFF_FFFF)
        ts_event = np.ascontiguousarray(records["ts_event"])
        duplicate = self._seen_offsets(records) | self._seen_trades(records, flags)
        timed = (flags & np.uint32(flag.NO_VENUE_TIME)) == 0
        skewed = (flags & np.uint32(_NO_SKEW)) == 0
        skewed &= ts_event - records["ts_recv"] > self._max_skew_ns
        if any(self._by_recv):
            timed |= np.array(self._by_recv)[dense]
        eligible = timed & ~duplicate & ~skewed
        late = eligible & (ts_event < self._newest_before(ts_event, dense, eligible))
        flags |= duplicate * np.uint32(flag.DUPLICATE)
        flags |= skewed * np.uint32(flag.SKEWED)
        flags |= late * np.uint32(flag.LATE)
        return flags

    def _newest_before(
        self,
        ts_event: npt.NDArray[np.int64],
        dense: npt.NDArray[np.int32],
        eligible: npt.NDArray[np.bool_],
    ) -> npt.NDArray[np.int64]:
        # A running maximum per instrument, exclusive of the row itself.
        times = np.where(eligible, ts_event, _NEVER)
        order, bounds = _groups(dense)
        before = np.empty(len(times), np.int64)
        for lo, hi in bounds:
            rows: Any = slice(None) if order is None else order[lo:hi]
            at = int(dense[0 if order is None else order[lo]])
            running = np.empty(hi - lo + 1, np.int64)
            running[0] = self._newest[at]
            running[1:] = times[rows]
            np.maximum.accumulate(running, out=running)
            before[rows] = running[:-1]
            self._newest[at] = int(running[-1])
        return before

    def _seen_offsets(self, records: Any) -> npt.NDArray[np.bool_]:
        streams = np.ascontiguousarray(records["stream"])
        seen = np.zeros(len(streams), bool)
        order, bounds = _groups(streams)
        for lo, hi in bounds:
            rows: Any = slice(None) if order is None else order[lo:hi]
            stream = int(streams[0 if order is None else order[lo]])
            if stream >= 0:
                offsets, subs = records["offset"][rows], records["sub"][rows]
                seen[rows] = self._seen_in_stream(stream, offsets, subs)
        return seen

    def _seen_in_stream(
        self, stream: int, offsets: npt.NDArray[np.int64], subs: npt.NDArray[np.int32]
    ) -> Any:
        last = self._streams.get(stream)
        end = (int(offsets[-1]), int(subs[-1]))
        rising = (offsets[1:] > offsets[:-1]) | (
            (offsets[1:] == offsets[:-1]) & (subs[1:] > subs[:-1])
        )
        if rising.all() and (last is None or (int(offsets[0]), int(subs[0])) > last):
            self._streams[stream] = end
            return False
        seen = []
        for place in zip(offsets.tolist(), subs.tolist(), strict=True):
            known = last is not None and place <= last
            seen.append(known)
            last = last if known else place
        if last is not None:
            self._streams[stream] = last
        return seen

    def _seen_trades(self, records: Any, flags: npt.NDArray[np.uint32]) -> npt.NDArray[np.bool_]:
        seen = np.zeros(len(flags), bool)
        without = (flags & np.uint32(flag.NO_TRADE_ID)) != 0
        tokens, ids = records["instrument_token"], records["trade_id"]
        having = np.flatnonzero(~without) if without.any() else None
        if having is not None:
            tokens, ids = tokens[having], ids[having]
        if not len(ids):
            return seen
        order, bounds = _groups(tokens)
        for lo, hi in bounds:
            rows: Any = slice(None) if order is None else order[lo:hi]
            token = int(tokens[0 if order is None else order[lo]])
            known = self._ids_of(token).add_all(ids[rows])
            seen[rows if having is None else having[rows]] = known
        return seen


class _SeenIds:
    """The last different trade ids of one token, oldest leaving first."""

    __slots__ = ("_count", "_ring", "largest")

    def __init__(self, ids: Sequence[int], largest: int) -> None:
        self._ring = np.zeros(TRADE_IDS_KEPT, np.int64)
        self._ring[: len(ids)] = ids
        self._count = len(ids)  # of all ever kept; the ring holds the last ones
        self.largest = largest  # of all, also of those that left

    def add(self, trade_id: int) -> bool:
        """Return whether the id was seen; remember it if not."""
        if trade_id > self.largest:  # the usual case, without a search
            self.largest = trade_id
        elif (self._ring[: self._count] == trade_id).any():
            return True
        self._ring[self._count % TRADE_IDS_KEPT] = trade_id
        self._count += 1
        return False

    def add_all(self, ids: npt.NDArray[np.int64]) -> Any:
        """Do the same for many, in order."""
        rising = int(ids[0]) > self.largest and bool((ids[1:] > ids[:-1]).all())
        if rising or self._are_new(ids):
            self.largest = max(self.largest, int(ids.max()))
            kept = ids[-TRADE_IDS_KEPT:]
            at = self._count + len(ids) - len(kept)
            self._ring[np.arange(at, at + len(kept)) % TRADE_IDS_KEPT] = kept
            self._count += len(ids)
            return False
        return self._add_each(ids.tolist())

    def _are_new(self, ids: npt.NDArray[np.int64]) -> bool:
        # Out of order, but none twice and none that is kept: none of them is seen.
        ordered = np.sort(ids)
        if (ordered[1:] == ordered[:-1]).any():
            return False
        older = ids[ids <= self.largest]
        return not np.isin(older, self._ring[: self._count]).any()

    def _add_each(self, ids: list[int]) -> list[bool]:
        ring = self._ring
        known = set(ring[: self._count].tolist())
        seen = []
        for trade_id in ids:
            was = trade_id in known
            seen.append(was)
            if not was:
                at = self._count % TRADE_IDS_KEPT
                if self._count >= TRADE_IDS_KEPT:
                    known.discard(int(ring[at]))
                ring[at] = trade_id
                known.add(trade_id)
                self._count += 1
        self.largest = max(self.largest, max(ids))
        return seen

    def ids(self) -> list[int]:
        """Return what is kept, oldest first."""
        at = self._count % TRADE_IDS_KEPT if self._count >= TRADE_IDS_KEPT else 0
        kept = self._ring[: self._count].tolist()
        return [*kept[at:], *kept[:at]]


def _groups(
    keys: npt.NDArray[Any],
) -> tuple[npt.NDArray[np.intp] | None, list[tuple[int, int]]]:
    # Rows by key, order within a key kept; no permutation where there is one key only.
    if (keys == keys[0]).all():
        return None, [(0, len(keys))]
    order = np.argsort(keys, kind="stable")
    edges = np.flatnonzero(np.diff(keys[order])) + 1
    return order, list(zip([0, *edges.tolist()], [*edges.tolist(), len(keys)], strict=True))
