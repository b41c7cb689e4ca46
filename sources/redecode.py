"""Decoding a recording anew from the payloads it kept: how a defect of a codec is repaired.

The recording stays as it is; a new one is made, whole or not at all. Every message is decoded again
and put where its ticks, or its quarantine, stood; all other events stay where they were, and the
arrival times too. Where a message gives as many events as it did, every seq is the same. What came
without a payload is copied. Verdicts are the sequencer's, given anew.

Never here: a guess at a payload that was not kept.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from parity.model.errors import ConfigError
from parity.model.events import RAW, Control
from parity.model.ticks import CATCH_UP, WARMUP
from parity.recording.disk import sync_folder
from parity.recording.holding import hold, remove_left_over, temporary_of
from parity.recording.journal import JournalWriter
from parity.recording.manifest import update_manifest
from parity.recording.payloads import payloads_of
from parity.recording.reader import open_recording
from parity.recording.sealing import seal, seal_ended
from parity.recording.sequencer import Sequencer
from parity.recording.writer import create_recording
from parity.sources.codecs.registry import decoder_of
from parity.sources.decoding import Messages, decode_messages

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy.typing as npt

    from parity.model.instruments import InstrumentTable
    from parity.recording.reader import Recording
    from parity.sources.arrivals import Decoder

QUARANTINE: Final = "quarantine"
_COPIED_MAX: Final = 10_000  # of events without payloads, at once
_KEPT_FLAGS: Final = np.uint32(CATCH_UP | WARMUP)  # what the source knew, not the message

Key = tuple[int, int]  # stream and offset of a message
Item = Any  # a record of ticks, or a Control


class Redecoded(msgspec.Struct):
    """What came of it: messages decoded again, and ticks and refusals before and after."""

    messages: int = 0
    ticks_before: int = 0
    ticks: int = 0
    quarantined_before: int = 0
    quarantined: int = 0
    copied: int = 0  # ticks and refusals whose payload was not kept
    same_seq: bool = True  # no event has another seq


def redecode(
    recording: Path,
    out: Path,
    *,
    created_by: str,
    table: InstrumentTable | None = None,
    codec: str | None = None,
    tz: str | None = None,
) -> Redecoded:
    """Make a new recording from the payloads of one.

    Args:
        recording: recorded with its payloads; it stays as it is.
        out: folder of the new recording; must not exist.
        created_by: for people.
        table: instruments instead of the recording's own.
        codec: instead of the one that each payload was recorded with.
        tz: the zone of naive times, beside `codec`.

    Raises:
        ConfigError: there is something at `out`, no payload was kept, or what has none is of
            another table.
        RecordingCorrupt: the recording is damaged.
    """
    if out.exists():
        raise ConfigError(f"{out}: is there already", cure="name a folder that is not there")
    with open_recording(recording) as old:
        old.check_files(always=True)
        out.parent.mkdir(parents=True, exist_ok=True)
        remove_left_over(out)
        growing = temporary_of(out)
        lock = hold(growing)
        try:
            whole = growing / "recording"  # by the other name it would be no recording
            made = _Redecoding(old, whole, table, codec, tz).run(created_by)
            whole.replace(out)
            sync_folder(out.parent)
        finally:
            shutil.rmtree(growing, ignore_errors=True)
            os.close(lock)
    return made


class _Redecoding:
    def __init__(
        self,
        old: Recording,
        folder: Path,
        table: InstrumentTable | None,
        codec: str | None,
        tz: str | None,
    ) -> None:
        self._old = old
        self._folder = folder
        self._table = table or old.table
        self._codec, self._tz = codec, tz
        self._decoders: dict[tuple[str, str | None], Decoder] = {}
        self._sequencer = Sequencer(self._table)
        self._counts = Redecoded()

    def run(self, created_by: str) -> Redecoded:
        old, manifest = self._old, self._old.manifest
        streams = [(s.topic, s.partition) for s in manifest.streams]
        create_recording(
            self._folder, self._table, created_by=created_by, streams=streams,
            order=manifest.order, durability="os",
        )  # fmt: skip
        ended: list[int] = []
        with JournalWriter(self._folder, durability="os", on_end=ended.append) as journal:
            for raw, events in _windows(old):
                items = self._window(raw, events)
                self._counts.same_seq &= len(items) == len(events) + (raw is not None)
                self._append(journal, items)
                while ended:
                    seal_ended(self._folder, ended.pop())
            ids = {stream: n for n, stream in enumerate(streams)}
            positions = {ids[stream]: at for stream, at in old.next_positions().items()}
            journal.append(np.zeros(0, self._table.tick_dtype), (), positions)
        if not self._counts.messages:
            raise ConfigError(
                f"{old.path}: it kept no payloads", cure="record with --keep-raw to have them"
            )
        origin = {
            "recording_id": manifest.recording_id,
            "content_hash": old.content_hash(),
            "first_seq": 1,
            "last_seq": old.last_seq,
            "redecoded": msgspec.to_builtins(self._counts),
        }
        update_manifest(self._folder, lambda m: msgspec.structs.replace(m, origin=origin))
        seal(self._folder)
        return self._counts

    def _window(self, raw: Control | None, events: Sequence[Item]) -> list[Item]:
        """Return the events of one batch of payloads, decoded anew, in their order."""
        outputs = {} if raw is None else self._decoded(raw)
        order = iter(list(outputs))
        found: list[Item] = []
        handed_on: set[Key] = set()

        def hand_on(upto: Key | None, flags: np.uint32) -> None:
            for key in order:
                handed_on.add(key)
                for item in outputs[key]:
                    if not isinstance(item, Control) and key == upto:
                        item["flags"] |= flags
                    found.append(item)
                if key == upto:
                    return

        for event in events:
            key, flags = _key_of(event)
            self._count_before(event)
            if key is None or key not in outputs:
                self._check_copied(event, key)
                found.append(event)
            elif key not in handed_on:
                hand_on(key, flags)
        hand_on(None, np.uint32(0))  # what gave nothing then, such as a heartbeat
        return found if raw is None else [raw, *found]

    def _decoded(self, raw: Control) -> dict[Key, list[Item]]:
        said = raw.detail
        name, zone = said["codec"], said["tz"]
        if self._codec is not None:
            name, zone = self._codec, self._tz
        decoder = self._decoders.get((name, zone))
        if decoder is None:
            decoder = self._decoders[name, zone] = decoder_of(name, self._table, zone)
        payloads, streams, offsets = said["payloads"], said["streams"], said["offsets"]
        messages = Messages(payloads, streams, offsets, said["broker_ms"], [])
        arrivals = decode_messages(decoder, messages)
        self._counts.messages += len(payloads)
        arrivals.records["ts_recv"] = raw.ts_recv
        found: dict[Key, list[Item]] = {key: [] for key in zip(streams, offsets, strict=True)}
        for row, key in enumerate(
            zip(
                arrivals.records["stream"].tolist(),
                arrivals.records["offset"].tolist(),
                strict=True,
            )
        ):
            found[key].append(arrivals.records[row : row + 1])
        for note in arrivals.notes:
            control = Control(seq=0, ts_recv=raw.ts_recv, verb=note.verb, detail=note.detail)
            found[note.detail["stream"], note.detail["offset"]].append(control)
        return found

    def _count_before(self, event: Item) -> None:
        if not isinstance(event, Control):
            self._counts.ticks_before += 1
        elif event.verb == QUARANTINE:
            self._counts.quarantined_before += 1

    def _check_copied(self, event: Item, key: Key | None) -> None:
        if key is None:
            return
        self._counts.copied += 1
        if isinstance(event, Control):
            return  # it has its payload, and nothing of a table
        if self._table is not self._old.table and self._table != self._old.table:
            raise ConfigError(
                f"{self._old.path}: stream {key[0]}, offset {key[1]} was recorded without its "
                "payload, and cannot be read under another instrument table",
                cure="leave --instrument-table out",
            )

    def _append(self, journal: JournalWriter, items: Sequence[Item]) -> None:
        pieces: list[npt.NDArray[Any]] = [np.zeros(0, self._table.tick_dtype)]
        controls: list[Control] = []
        waiting: list[npt.NDArray[Any]] = []

        def number() -> None:
            if waiting:
                pieces.append(self._sequencer.sequence(np.concatenate(waiting)))
                waiting.clear()

        for item in items:
            if not isinstance(item, Control):
                waiting.append(item)
                self._counts.ticks += 1
                continue
            number()
            seq = self._sequencer.take_seq()
            self._counts.quarantined += item.verb == QUARANTINE
            controls.append(msgspec.structs.replace(item, seq=seq))
        number()
        if items:
            journal.append(np.concatenate(pieces), controls)


def _key_of(event: Item) -> tuple[Key | None, np.uint32]:
    """Return which message an event came from, None of none, and what its source said of it."""
    if isinstance(event, Control):
        if event.verb != QUARANTINE:
            return None, np.uint32(0)
        return (event.detail["stream"], event.detail["offset"]), np.uint32(0)
    (tick,) = event
    return (int(tick["stream"]), int(tick["offset"])), tick["flags"] & _KEPT_FLAGS


def _windows(old: Recording) -> Iterator[tuple[Control | None, list[Item]]]:
    """Yield the events between one batch of payloads and the next, with those before them."""
    kept = payloads_of(old.path)
    raw: Control | None = None
    events: list[Item] = []
    for event in _events(old):
        if isinstance(event, Control) and event.verb == RAW:
            yield raw, events
            raw, events = next(kept), []
            assert raw.seq == event.seq
        else:
            events.append(event)
            if raw is None and len(events) == _COPIED_MAX:
                yield None, events
                events = []
    yield raw, events


def _events(old: Recording) -> Iterator[Item]:
    """Yield each tick, as an array of one record, and each control, by seq."""
    for batch in old.batches():
        records = batch.ticks.to_records() if len(batch.ticks) else None
        row = 0
        for control in batch.controls:
            while records is not None and row < len(records) and records["seq"][row] < control.seq:
                yield records[row : row + 1]
                row += 1
            yield control
        while records is not None and row < len(records):
            yield records[row : row + 1]
            row += 1


def describe(made: Mapping[str, Any]) -> str:
    """Return in words what came of it."""
    same = "every seq as it was" if made["same_seq"] else "seqs behind the first change moved"
    return (
        f"{made['messages']} messages decoded anew: {made['ticks_before']} ticks and "
        f"{made['quarantined_before']} quarantined before, {made['ticks']} and "
        f"{made['quarantined']} now; {same}"
    )
