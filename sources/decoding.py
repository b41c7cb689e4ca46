"""From the messages of one poll to arrivals: ticks in order, and a note for what is none.

A message of several ticks is split first, and each part stands alone: one that cannot be read never
costs its neighbours. Of one message there is one quarantine note, behind the ticks it gave.

Never here: a wire format, or a broker.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from parity.model.events import RAW
from parity.model.ticks import CATCH_UP
from parity.recording.sequencer import MAX_SKEW_NS
from parity.sources.arrivals import Arrivals, Note
from parity.sources.codecs import Undecodable

if TYPE_CHECKING:
    import numpy.typing as npt

    from parity.sources.arrivals import Decoder, EventDecoder

# What a producer says may be anything, and as ns it is to be an int64: what is later is as late as
# that. Bounded where it comes in, so that whoever multiplies need not ask.
BROKER_MS_MAX: Final = (2**63 - 1) // 1_000_000
_NOBODY: Final[Mapping[int, Any]] = MappingProxyType({})


class Decoded(NamedTuple):
    """What was decoded of messages before their turn: one record for each, where it is ready."""

    records: npt.NDArray[Any]
    ready: npt.NDArray[np.bool_]

    def of(self, rows: npt.NDArray[np.int64] | slice) -> Decoded:
        """Return those of some messages."""
        return Decoded(self.records[rows], self.ready[rows])

    @staticmethod
    def together(every: Sequence[Messages]) -> Decoded | None:
        """Return those of several in one; None where nothing is decoded."""
        kinds = {one.decoded.records.dtype for one in every if one.decoded is not None}
        if not kinds:
            return None
        (kind,) = kinds
        parts = []
        for one in every:
            count = len(one.payloads)
            parts.append(one.decoded or Decoded(np.zeros(count, kind), np.zeros(count, np.bool_)))
        records, ready = zip(*parts, strict=True)
        return Decoded(np.concatenate(records), np.concatenate(ready))


class Messages(NamedTuple):
    """One poll's messages as columns, and the gaps found between them.

    A gap's `row` is the number of messages before it. `broker_ms` is in 0..BROKER_MS_MAX.
    `catch_up` says that they were merged behind the head, see `parity.sources.catch_up`; what was
    decoded for that is in `decoded`.
    """

    payloads: list[bytes | None]
    streams: list[int]
    offsets: list[int]
    broker_ms: list[int]
    gaps: list[Note]
    catch_up: bool = False
    decoded: Decoded | None = None


def decode_messages(
    decoder: Decoder,
    messages: Messages,
    readers: Mapping[int, EventDecoder] = _NOBODY,
    keep_raw: Mapping[str, Any] | None = None,
) -> Arrivals:
    """Return ticks, gaps and quarantined messages in their order, and where streams go on.

    Args:
        decoder: of ticks.
        messages: of one poll.
        readers: by stream, of those whose messages are events.
        keep_raw: the codec's name and zone; adds a note before the first tick, with the payloads of
            all messages of ticks.
    """
    refusals: list[tuple[int, str]] = []  # (message, reason)
    events: dict[int, Note | None] = {}  # by message; None where it is refused
    if readers and not readers.keys().isdisjoint(messages.streams):
        events = _read_events(readers, messages, refusals)
    starts: list[int] | None = None
    if messages.decoded is not None and messages.decoded.ready.all() and not events:
        records = messages.decoded.records
    elif decoder.split is None and not events:
        records, starts = _decode(decoder, messages, refusals)
    else:
        records, starts = _decode_parts(decoder, messages, refusals, events)
    if messages.catch_up:
        records["flags"] |= np.uint32(CATCH_UP)
    streams, offsets, notes = messages.streams, messages.offsets, messages.gaps
    found = [note.detail for note in notes if "next_offset" in note.detail]
    positions = {detail["stream"]: detail["next_offset"] for detail in found}
    last = dict(zip(streams, offsets, strict=True))  # of each stream; offsets rise in it
    positions.update((stream, offset + 1) for stream, offset in last.items())
    if starts is not None:
        notes = _in_rows(messages, refusals, starts, events)
    if keep_raw is not None:
        notes = [*_payloads(messages, readers, keep_raw), *notes]
    return Arrivals(records, notes, positions)


def read_ahead(
    decoder: Decoder, messages: Messages, events: Container[int] = ()
) -> tuple[list[int], Messages]:
    """Return the time that each message is merged by behind the head, int ns UTC, and the messages.

    It is ts_event of its first tick. One that is skewed against its message's time at the broker
    has that time: it would hold its partition back until the others are as far. So has a message
    without any: what cannot be decoded, a heartbeat, and those of the streams in `events`, which
    nobody may read twice.

    What was decoded goes along, so that it need not be done again, where messages are ticks.
    """
    ahead = messages.decoded
    broker_ns = np.array(messages.broker_ms, np.int64) * 1_000_000
    found = broker_ns.copy()
    if ahead is None and decoder.split is None:
        ahead = _decoded(decoder, messages, events)
    if ahead is not None:
        found[ahead.ready] = ahead.records["ts_event"][ahead.ready]
    else:
        aside = {n for n, stream in enumerate(messages.streams) if stream in events}
        records, starts = _decode_parts(decoder, messages, [], aside)
        firsts = np.array(starts, np.int64)
        some = firsts[1:] > firsts[:-1]
        found[some] = records["ts_event"][firsts[:-1][some]]
    # What has no time at the broker (0) is taken at its word.
    skewed = (np.maximum(found, 0) - MAX_SKEW_NS > broker_ns) & (broker_ns > 0)
    found[skewed] = broker_ns[skewed]
    return found.tolist(), messages._replace(decoded=ahead)


def _decoded(decoder: Decoder, messages: Messages, events: Container[int]) -> Decoded:
    records, starts = _decode(decoder, messages, [])
    count = len(messages.payloads)
    if starts is None:
        found = Decoded(records, np.ones(count, np.bool_))
    else:
        ready = np.diff(np.array(starts, np.int64)) == 1
        found = Decoded(np.zeros(count, decoder.dtype), ready)
        found.records[ready] = records
    for stream in {stream for stream in messages.streams if stream in events}:
        found.ready[np.array(messages.streams) == stream] = False
    return found


def _payloads(
    messages: Messages, readers: Container[int], keep_raw: Mapping[str, Any]
) -> list[Note]:
    rows = [n for n, stream in enumerate(messages.streams) if stream not in readers]
    if not rows:
        return []
    detail = {
        **keep_raw,
        "streams": [messages.streams[n] for n in rows],
        "offsets": [messages.offsets[n] for n in rows],
        "broker_ms": [messages.broker_ms[n] for n in rows],
        "payloads": [messages.payloads[n] for n in rows],
    }
    return [Note(0, RAW, detail)]


def _decode(
    decoder: Decoder, messages: Messages, refusals: list[tuple[int, str]]
) -> tuple[npt.NDArray[Any], list[int] | None]:
    """Return records, and each message's first row; None where every message is one."""
    payloads, streams, offsets, broker_ms = messages[:4]
    # A third of the cost of np.zeros for a structured dtype.
    records = np.frombuffer(bytearray(len(payloads) * decoder.dtype.itemsize), decoder.dtype)
    decode_into = decoder.decode_into
    left: Sequence[int] = range(len(payloads))
    if decoder.read_many is not None:
        left = decoder.read_many(payloads, streams, offsets, broker_ms, records)
    for at in left:
        try:
            place = (streams[at], offsets[at], broker_ms[at] * 1_000_000)
            decode_into(payloads[at], records, at, *place)
        except Undecodable as refused:
            refusals.append((at, str(refused)))
    if not refusals:
        return records, None
    counts = np.ones(len(payloads) + 1, np.int64)
    counts[0] = 0
    counts[[at + 1 for at, _ in refusals]] = 0
    return records[counts[1:] != 0], counts.cumsum().tolist()


def _decode_parts(
    decoder: Decoder,
    messages: Messages,
    refusals: list[tuple[int, str]],
    events: Container[int],
) -> tuple[npt.NDArray[Any], list[int]]:
    split_one = decoder.split or _whole
    split: list[Sequence[bytes | None]] = []
    for at, payload in enumerate(messages.payloads):
        try:
            split.append(() if at in events else split_one(payload))
        except Undecodable as refused:
            refusals.append((at, str(refused)))
            split.append(())
    records = np.zeros(sum(map(len, split)), decoder.dtype)
    starts: list[int] = [0]
    subs: list[int] = []
    for at, parts in enumerate(split):
        place = (messages.streams[at], messages.offsets[at], messages.broker_ms[at] * 1_000_000)
        refused_parts: list[str] = []
        for sub, part in enumerate(parts):
            try:
                decoder.decode_into(part, records, len(subs), *place)
                subs.append(sub)
            except Undecodable as refused:
                many = f"part {sub + 1} of {len(parts)}: " if len(parts) > 1 else ""
                refused_parts.append(f"{many}{refused}")
        starts.append(len(subs))
        if refused_parts:
            more = f"; and {len(refused_parts) - 1} more" if len(refused_parts) > 1 else ""
            refusals.append((at, refused_parts[0] + more))
    records = records[: len(subs)]
    records["sub"] = subs
    return records, starts


def _whole(payload: bytes | None) -> Sequence[bytes | None]:
    return (payload,)


def _read_events(
    readers: Mapping[int, EventDecoder], messages: Messages, refusals: list[tuple[int, str]]
) -> dict[int, Note | None]:
    found: dict[int, Note | None] = {}
    for at, stream in enumerate(messages.streams):
        if stream not in readers:
            continue
        found[at] = None
        broker_ns = messages.broker_ms[at] * 1_000_000
        try:
            found[at] = Note(0, *readers[stream].read(messages.payloads[at], broker_ns))
        except Undecodable as refused:
            refusals.append((at, str(refused)))
    return found


def _in_rows(
    messages: Messages,
    refusals: Sequence[tuple[int, str]],
    starts: Sequence[int],
    events: Mapping[int, Note | None],
) -> list[Note]:
    """Return gaps, events and quarantined messages in order, their rows counted in records."""
    # A gap stands before the message it was found at, a refusal behind its message.
    notes = [(2 * gap.row, gap._replace(row=starts[gap.row])) for gap in messages.gaps]
    for at, reason in refusals:
        detail = {
            "stream": messages.streams[at],
            "offset": messages.offsets[at],
            "reason": reason,
            "payload": messages.payloads[at] or b"",
        }
        notes.append((2 * at + 1, Note(starts[at + 1], "quarantine", detail)))
    notes += [(2 * at + 1, note._replace(row=starts[at])) for at, note in events.items() if note]
    notes.sort(key=lambda one: one[0])
    return [note for _, note in notes]
