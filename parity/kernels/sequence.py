"""The sequencer's verdicts in one pass over records: what `parity.recording.sequencer` defines.

It judges tick by tick in arrival order and carries everything in arrays that its caller keeps.
Cached beside this file, which is sound because nothing here reaches another one.

Never here: a token, or a stream, that the caller has no place for yet.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from numba import njit, types

_INT64_IN = types.Array(types.int64, 1, "C", readonly=True)
_INT32_IN = types.Array(types.int32, 1, "C", readonly=True)
_UINT32_IN = types.Array(types.uint32, 1, "C", readonly=True)
_BOOL_IN = types.Array(types.boolean, 1, "C", readonly=True)
_UINT8_IN = types.Array(types.uint8, 1, "C", readonly=True)
_UINT32 = types.Array(types.uint32, 1, "C")
_INT64 = types.Array(types.int64, 1, "C")
_INT32 = types.Array(types.int32, 1, "C")
_RINGS = types.Array(types.int64, 2, "C")

# What of a record it reads.
FIELDS: Final = (
    "ts_event", "ts_recv", "instrument_token", "trade_id", "flags", "stream", "offset", "sub",
)  # fmt: skip
# What judge() answers.
JUDGED: Final = 0
UNKNOWN: Final = 1  # a token is not in the table
NO_ROOM: Final = 2  # a stream, or an instrument with a trade id, has no place


@njit(inline="always")
def _slot(streams: Any, stream: Any, last: Any) -> Any:
    """Return a stream's place, looked for first where the last one was; -1 where it has none."""
    if last >= 0 and streams[last] == stream:
        return last
    for slot in range(len(streams)):
        if streams[slot] == stream:
            return slot
    return -1


@njit(inline="always")
def _is_kept(ring: Any, count: Any, trade_id: Any) -> Any:
    at, end = 0, min(count, len(ring))
    while at < end and ring[at] != trade_id:
        at += 1
    return at < end


@njit(inline="always")
def _dense(token: Any, tokens: Any, near: Any) -> Any:
    """Return the dense id of a token, -1 where it is none of the table."""
    if len(near) > 0:
        place = token - tokens[0]
        return np.int64(near[place]) if 0 <= place < len(near) else np.int64(-1)
    at = np.searchsorted(tokens, token)
    return np.int64(at) if at < len(tokens) and tokens[at] == token else np.int64(-1)


@njit(inline="always")
def _low(data: Any, at: Any) -> Any:
    # Byte by byte: the compiler makes one load of them.
    place = np.uint64(at)
    return (
        np.uint64(data[place])
        | np.uint64(data[place + np.uint64(1)]) << np.uint64(8)
        | np.uint64(data[place + np.uint64(2)]) << np.uint64(16)
        | np.uint64(data[place + np.uint64(3)]) << np.uint64(24)
    )


@njit(inline="always")
def _int64(data: Any, at: Any) -> Any:
    return np.int64(_low(data, at) | _low(data, at + 4) << np.uint64(32))


@njit(inline="always")
def _int32(data: Any, at: Any) -> Any:
    return np.int64(np.int32(np.uint32(_low(data, at))))


@njit(inline="always")
def _find(
    records: Any, size: Any, fields: Any, tokens: Any, near: Any, no_id: Any, streams: Any,
    places: Any, inst: Any,
) -> int:  # fmt: skip
    """Find each tick's instrument; say whether all that is to be carried has its place."""
    slot: Any = -1
    said = JUDGED
    for row in range(len(inst)):
        at = row * size
        one = _dense(_int64(records, at + fields[2]), tokens, near)
        if one < 0:
            return UNKNOWN
        inst[row] = one
        stream = _int32(records, at + fields[5])
        if stream >= 0:
            slot = _slot(streams, stream, slot)
            if slot < 0:
                said = NO_ROOM
        if np.uint32(_low(records, at + fields[4])) & no_id == 0 and places[one] < 0:
            said = NO_ROOM
    return said


@njit(inline="always")
def _is_past(
    records: Any, at: Any, fields: Any, slot: Any, last_offset: Any, last_sub: Any
) -> bool:
    """Return whether a tick's place in its stream is not beyond the last one; take it if it is."""
    offset, sub = _int64(records, at + fields[6]), _int32(records, at + fields[7])
    last = last_offset[slot]
    if offset < last or (offset == last and sub <= last_sub[slot]):
        return True
    last_offset[slot] = offset
    last_sub[slot] = sub
    return False


@njit(inline="always")
def _is_known(trade_id: Any, place: Any, rings: Any, counts: Any, largest: Any) -> bool:
    """Return whether a trade id is among those kept; keep it if it is not."""
    if trade_id > largest[place]:
        largest[place] = trade_id  # the usual case, without a search
    elif _is_kept(rings[place], counts[place], trade_id):
        return True
    rings[place, counts[place] % rings.shape[1]] = trade_id
    counts[place] += 1
    return False


@njit(
    types.int64(
        _UINT8_IN, types.int64, _INT64_IN, _INT64_IN, _INT32_IN, _UINT32_IN, types.int64,
        _BOOL_IN, _INT64, _INT64_IN, _INT64, _INT64, _INT64_IN, _RINGS, _INT64, _INT64,
        _INT32, _UINT32,
    ),
    cache=True,
)  # fmt: skip
def judge(
    records: npt.NDArray[np.uint8],
    size: int,
    fields: npt.NDArray[np.int64],
    tokens: npt.NDArray[np.int64],
    near: npt.NDArray[np.int32],
    bits: npt.NDArray[np.uint32],
    max_skew_ns: int,
    by_recv: npt.NDArray[np.bool_],
    newest: npt.NDArray[np.int64],
    streams: npt.NDArray[np.int64],
    last_offset: npt.NDArray[np.int64],
    last_sub: npt.NDArray[np.int64],
    places: npt.NDArray[np.int64],
    rings: npt.NDArray[np.int64],
    counts: npt.NDArray[np.int64],
    largest: npt.NDArray[np.int64],
    inst: npt.NDArray[np.int32],
    out: npt.NDArray[np.uint32],
) -> int:
    """Judge ticks in arrival order.

    Args:
        records: their bytes.
        size: bytes of a record.
        fields: where in it the `FIELDS` are.
        tokens: of the instrument table, rising.
        near: dense ids by distance from its first token, see `InstrumentTable`.
        bits: (duplicate, skewed, late, no trade id, no ts_recv or venue time, no venue time).
        max_skew_ns: how far ts_event may be ahead of ts_recv.
        by_recv: by dense id, whether an instrument lives by `clock: recv`.
        newest: by dense id, carried: largest delivered ts_event.
        streams: the stream of each place.
        last_offset: by place, carried: of the last message.
        last_sub: by place, carried.
        places: by dense id: place of its trade ids, or -1.
        rings: by place, carried: the last trade ids.
        counts: by place, carried: trade ids ever kept.
        largest: by place, carried: of all trade ids.
        inst: receives dense ids.
        out: receives the flags with the verdicts.

    Returns:
        JUDGED; or UNKNOWN or NO_ROOM, and then nothing changed.
    """
    said = _find(records, size, fields, tokens, near, bits[3], streams, places, inst)
    if said != JUDGED:
        return said
    slot: Any = -1
    for row in range(len(inst)):
        at, one = row * size, inst[row]
        had = np.uint32(_low(records, at + fields[4]))
        seen = False
        stream = _int32(records, at + fields[5])
        if stream >= 0:
            slot = _slot(streams, stream, slot)
            seen = _is_past(records, at, fields, slot, last_offset, last_sub)
        if had & bits[3] == 0:
            trade_id = _int64(records, at + fields[3])
            seen |= _is_known(trade_id, places[one], rings, counts, largest)
        out[row] = had & ~(bits[0] | bits[1] | bits[2]) | (bits[0] if seen else np.uint32(0))
        ts = _int64(records, at + fields[0])
        if had & bits[4] == 0 and ts - _int64(records, at + fields[1]) > max_skew_ns:
            out[row] |= bits[1]
        elif not seen and (had & bits[5] == 0 or by_recv[one]):
            if ts < newest[one]:
                out[row] |= bits[2]
            else:
                newest[one] = ts
    return JUDGED
