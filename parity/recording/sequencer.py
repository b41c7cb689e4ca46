"""The sequencer: order becomes a fact. Each event gets its seq, each tick its verdicts, once.

Pure: arrays in, arrays out; never a clock, a file or a network. One rule per verdict, applied tick
by tick in arrival order, so that the result never depends on how records are cut into batches:

* DUPLICATE: (offset, sub) is not beyond the last one seen of its stream, or its trade id is among
  the last `TRADE_IDS_KEPT` different ones of its token. Never by value: equal prints can be real.
* SKEWED: `ts_event` is more than `max_skew_ns` ahead of `ts_recv`; not judged where one is absent.
* LATE: `ts_event` is behind the largest one delivered of its instrument. A tick without venue time
  is never late and advances nothing, unless its instrument lives by `clock: recv`. A duplicate or
  skewed tick is not delivered, so it advances nothing and is not late on top.

Few ticks take a loop over unpacked records, more the compiled pass of `parity.kernels.sequence`
where numba is loaded already, else numpy; a law holds them equal.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from parity.model import ticks as flag
from parity.model.ticks import TICK_DTYPE
from parity.recording import passes
from parity.recording.seen import NEVER, Streams, TradeIds

if TYPE_CHECKING:
    from parity.model.events import EventBatch
    from parity.model.instruments import InstrumentTable

TRADE_IDS_KEPT: Final = 4096
SMALL: Final = 128  # below, the loop is faster than numpy's fixed costs
FEW: Final = 3  # and than those of the compiled pass
MAX_SKEW_NS: Final = 5_000_000_000
_NO_SKEW: Final = flag.NO_TS_RECV | flag.NO_VENUE_TIME
_VERDICTS: Final = flag.DUPLICATE | flag.SKEWED | flag.LATE
_BITS = np.array(
    [flag.DUPLICATE, flag.SKEWED, flag.LATE, flag.NO_TRADE_ID, _NO_SKEW, flag.NO_VENUE_TIME],
    np.uint32,
)

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
_PLACES = np.array([_FIELDS[name][1] for name in _READ], np.int64)  # for the compiled pass


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
        self._by_recv = np.array([i.clock == "recv" for i in table])
        self._dense = {i.token: n for n, i in enumerate(table)}
        self._newest = np.full(len(table), NEVER)  # largest delivered ts_event, by dense id
        self._streams = Streams()
        self._trade_ids = TradeIds(len(table), TRADE_IDS_KEPT)
        self._compiled: Any = None
        if passes.are_loaded():  # now, not at the first tick: the loop waits for nobody
            from parity.kernels import sequence

            self._compiled = sequence

    def sequence(self, records: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Set seq and verdicts of records in arrival order; in place where they are writable.

        CATCH_UP and WARMUP, which the source knows, are kept; verdicts brought along are not.
        """
        if not (records.flags.writeable and records.flags.c_contiguous):
            records = records.copy()
        count = len(records)
        if count == 0:
            return records
        if count < (SMALL if self._compiled is None else FEW):
            self._judge_few(records)
        elif self._compiled is not None:
            self._judge_compiled(records)
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
                for token, ts in zip(self._table.tokens, self._newest.tolist(), strict=True)
                if ts != NEVER
            },
            "streams": self._streams.snapshot(),
            "trade_ids": self._trade_ids.snapshot(self._table.tokens),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a snapshot; the instrument table may have grown."""
        self.next_seq = state["next_seq"]
        self._newest[:] = NEVER
        for token, ts in state["newest"].items():
            self._newest[self._table.dense_id(int(token))] = ts
        self._streams, self._trade_ids = Streams(), TradeIds(len(self._table), TRADE_IDS_KEPT)
        self._streams.restore(state["streams"])
        for token, (largest, kept) in state["trade_ids"].items():
            self._trade_ids.restore(self._table.dense_id(int(token)), largest, kept)

    # -- the loop, which is also the definition

    def _judge_few(self, records: npt.NDArray[Any]) -> None:
        into: Any = records
        rows = list(self._record.iter_unpack(into))
        dense = [self._dense.get(row[2], -1) for row in rows]
        if -1 in dense:  # before anything has changed
            self._table.dense(np.array([row[2] for row in rows], np.int64))
        judged = []
        newest, max_skew_ns, is_new = self._newest, self._max_skew_ns, self._streams.is_new
        for at, row in zip(dense, rows, strict=True):
            ts_event, ts_recv, _, trade_id, flags, stream, offset, sub = row
            seen = stream >= 0 and not is_new(stream, offset, sub)
            if not flags & flag.NO_TRADE_ID and self._trade_ids.add(at, trade_id):
                seen = True
            flags = flags & ~_VERDICTS | (flag.DUPLICATE if seen else 0)
            if not flags & _NO_SKEW and ts_event - ts_recv > max_skew_ns:
                flags |= flag.SKEWED
            elif not seen and (not flags & flag.NO_VENUE_TIME or self._by_recv[at]):
                if ts_event < newest.item(at):
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

    # -- the same, compiled

    def _judge_compiled(self, records: npt.NDArray[Any]) -> None:
        count, streams, ids, table = len(records), self._streams, self._trade_ids, self._table
        inst, out = np.empty(count, np.int32), np.empty(count, np.uint32)
        compiled = self._compiled
        said = compiled.NO_ROOM
        while said == compiled.NO_ROOM:
            said = compiled.judge(
                records.view(np.uint8), records.itemsize, _PLACES, table.tokens, table.near,
                _BITS, self._max_skew_ns, self._by_recv, self._newest,
                streams.ids, streams.offsets, streams.subs,
                ids.places, ids.rings, ids.counts, ids.largest, inst, out,
            )  # fmt: skip
            if said == compiled.NO_ROOM:
                self._make_room(records)  # rare, as streams and instruments are few
        if said == compiled.UNKNOWN:
            table.dense(np.ascontiguousarray(records["instrument_token"]))  # raises, naming it
        records["flags"] = out
        records["seq"] = np.arange(self.next_seq, self.next_seq + count)
        self.next_seq += count

    def _make_room(self, records: npt.NDArray[Any]) -> None:
        for stream in np.unique(records["stream"]).tolist():
            if stream >= 0:
                self._streams.place(stream)
        having = records["flags"] & np.uint32(flag.NO_TRADE_ID) == 0
        for token in np.unique(records["instrument_token"][having]).tolist():
            self._trade_ids.place(self._dense[token])

    # -- the same in numpy

    def _judge(self, records: Any, dense: npt.NDArray[np.int32]) -> npt.NDArray[np.uint32]:
        flags: npt.NDArray[np.uint32] = records["flags"] & np.uint32(~_VERDICTS & 0xFFFF_FFFF)
        ts_event = np.ascontiguousarray(records["ts_event"])
        duplicate = self._seen_offsets(records) | self._seen_trades(records, flags)
        timed = (flags & np.uint32(flag.NO_VENUE_TIME)) == 0
        skewed = (flags & np.uint32(_NO_SKEW)) == 0
        skewed &= ts_event - records["ts_recv"] > self._max_skew_ns
        if self._by_recv.any():
            timed |= self._by_recv[dense]
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
        times = np.where(eligible, ts_event, NEVER)
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
            self._newest[at] = running[-1]
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
        last = self._streams.last(stream)
        end = (int(offsets[-1]), int(subs[-1]))
        rising = (offsets[1:] > offsets[:-1]) | (
            (offsets[1:] == offsets[:-1]) & (subs[1:] > subs[:-1])
        )
        if rising.all() and (int(offsets[0]), int(subs[0])) > last:
            self._streams.leave(stream, end)
            return False
        seen = []
        for place in zip(offsets.tolist(), subs.tolist(), strict=True):
            known = place <= last
            seen.append(known)
            last = last if known else place
        self._streams.leave(stream, last)
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
            known = self._trade_ids.add_all(self._dense[token], ids[rows])
            seen[rows if having is None else having[rows]] = known
        return seen


def _groups(
    keys: npt.NDArray[Any],
) -> tuple[npt.NDArray[np.intp] | None, list[tuple[int, int]]]:
    # Rows by key, order within a key kept; no permutation where there is one key only.
    if (keys == keys[0]).all():
        return None, [(0, len(keys))]
    order = np.argsort(keys, kind="stable")
    edges = np.flatnonzero(np.diff(keys[order])) + 1
    return order, list(zip([0, *edges.tolist()], [*edges.tolist(), len(keys)], strict=True))
