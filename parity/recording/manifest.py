"""What a recording says about itself: `manifest.json`, read and replaced atomically.

Never holds a tick. A manifest carries the hash of its own text, because an edited instrument
table would change every price without touching a part.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import msgspec

from parity.model.errors import ConfigError, RecordingCorrupt, RecordingMissing
from parity.model.extensions import Extension
from parity.model.instruments import InstrumentTable
from parity.recording.disk import replace_file
from parity.recording.holding import is_partial, left_over

if TYPE_CHECKING:
    from pathlib import Path

MANIFEST: Final = "manifest.json"
FORMAT: Final = 1
_changing = threading.Lock()
# Left out of the text where empty, so that a recording without them reads as it always did.
_LEFT_OUT: Final = ("extensions", "origin", "gone", "shard", "topic_ids")


class Stream(msgspec.Struct, frozen=True):
    """One partition of one topic, under the dense id that ticks carry in `stream`."""

    id: int
    topic: str
    partition: int


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """One Parquet file of a recording; `kind` is "ticks" or "events"."""

    file: str
    kind: str
    sha256: str
    bytes: int
    rows: int
    first_seq: int
    last_seq: int


class SealedSegment(msgspec.Struct, frozen=True, kw_only=True):
    """A journal segment that is in the parts now; `positions` are its (stream, next offset)."""

    number: int
    id: str
    last_seq: int
    positions: list[tuple[int, int]] = []


class Gone(msgspec.Struct, frozen=True, kw_only=True):
    """A range of seqs whose events are no longer there; a gap event at its last seq says so.

    Args:
        reason: "lost": damage that nothing could mend; "pruned": retention did not hold it.
        first_seq: the first seq that is no longer there.
        last_seq: the last one; the gap event has taken it.
        events: how many seqs of the range are gone, that of the gap event included.
        ticks: how many of them were ticks; None where nothing says so.
        bytes: of the files that held them, 0 where unknown.
        noted: when it was noted, ISO 8601 UTC.
        why: what was found.
        parts: as they stood in the manifest; of lost ones a copy can be put back.
    """

    reason: str
    first_seq: int
    last_seq: int
    events: int
    ticks: int | None = None
    bytes: int = 0
    noted: str
    why: str
    parts: list[Part] = []

    @property
    def said(self) -> str:
        """The range in words, for messages."""
        held = f"{self.events} event{'s' if self.events != 1 else ''}"
        if self.ticks is not None:
            held += f", {self.ticks} of them ticks" if self.ticks != self.events else ", all ticks"
        return (
            f"seq {self.first_seq}..{self.last_seq} {self.reason} "
            f"({held}; noted {self.noted}: {self.why})"
        )


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """The manifest of a recording.

    Args:
        state: "open" while a journal may hold more than the parts, else "sealed".
        order: what seq follows: "ts_event", "ts_recv" or "arrival".
        scales: {"price": n, "quantity": n}, the scale of the DECIMAL columns in Parquet.
        durability: "fdatasync", "os" (a power loss may cost the end), or "" without a journal;
            "os" as soon as one life of a recording that went on was so.
        extensions: the columns that its ticks have beyond the tick columns.
        origin: of a slice: `recording_id, first_seq, last_seq` of what it was cut from, and how.
        gone: ranges of seqs that are no longer there, in seq order.
        shard: of one runner of several: its `partitions`, `of` how many by topic, and the
            `partitioner`.
        topic_ids: of the topics of `streams`, where their broker gives ids: made anew, a topic has
            another one.
    """

    recording_id: str
    state: str
    order: str
    created_by: str
    scales: dict[str, int]
    instruments: list[dict[str, Any]]
    streams: list[Stream] = []
    parts: list[Part] = []
    segments: list[SealedSegment] = []
    warnings: list[str] = []
    durability: str = ""
    format: int = FORMAT
    extensions: list[Extension] = []
    origin: dict[str, Any] = {}
    gone: list[Gone] = []
    shard: dict[str, Any] = {}
    topic_ids: dict[str, str] = {}

    @property
    def table(self) -> InstrumentTable:
        """The instrument table, with the extension columns."""
        return InstrumentTable.from_json(self.instruments, self.extensions)

    @property
    def last_seq(self) -> int:
        """The last seq of the parts and sealed segments, 0 where there is none."""
        ends = [p.last_seq for p in self.parts] + [s.last_seq for s in self.segments]
        return max(ends, default=0)

    def of_kind(self, kind: str) -> list[Part]:
        """Return the parts of one kind, in seq order."""
        return sorted((p for p in self.parts if p.kind == kind), key=lambda p: p.first_seq)

    def positions(self) -> dict[int, int]:
        """Return stream id -> next offset over all sealed segments."""
        found: dict[int, int] = {}
        for segment in self.segments:
            for stream, offset in segment.positions:
                found[stream] = max(offset, found.get(stream, 0))
        return found


def scales_of(table: InstrumentTable) -> dict[str, int]:
    """Return the scales of a recording: the largest of its instruments, each for itself."""
    return {"price": int(table.price_scales.max()), "quantity": int(table.quantity_scales.max())}


def load_manifest(folder: Path) -> Manifest:
    """Read the manifest of a recording.

    Raises:
        RecordingMissing: no such folder, or no manifest in it.
        RecordingCorrupt: not what was written, or of a later format.
    """
    path = folder / MANIFEST
    try:
        if is_partial(folder):
            raise FileNotFoundError
        text = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise _missing(folder) from None
    try:
        whole = msgspec.json.decode(text, type=dict[str, Any])
        claimed = whole.pop("sha256", None)
        if isinstance(whole.get("format"), int) and whole["format"] > FORMAT:
            raise RecordingCorrupt(
                f"{path}: format {whole['format']}, this version reads up to {FORMAT}",
                cure="read it with the version of parity that wrote it, or a later one",
            )
        if "run_id" in whole and "recording_id" not in whole:
            raise RecordingMissing(
                f"{path.parent}: a run, not a recording",
                cure="name its recording: `parity inspect RUN` says where it lies",
            )
        found = _digest(whole)
        if claimed != found:
            raise RecordingCorrupt(
                f"{path}: was edited: its hash says {claimed}, its text gives {found}", cure=_CURE
            )
        return msgspec.convert(whole, Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError, ConfigError) as error:
        raise RecordingCorrupt(f"{path}: {error}", cure=_CURE) from None


def repair_cure(folder: Path) -> str:
    """Return the cure for a file of a recording that is missing or damaged."""
    return (
        "restore it from a copy; without one, "
        f"parity repair {folder} rebuilds it from the journal or marks what is lost"
    )


_CURE = (
    "restore the manifest from a copy: nothing else says what the parts mean; an import can be "
    "made again from its source"
)


def save_manifest(folder: Path, manifest: Manifest) -> None:
    """Replace the manifest atomically and durably."""
    whole = msgspec.to_builtins(manifest)
    for name in _LEFT_OUT:
        if not whole[name]:
            del whole[name]
    whole["sha256"] = _digest(whole)
    replace_file(folder / MANIFEST, msgspec.json.format(msgspec.json.encode(whole), indent=1))


def add_streams(
    folder: Path,
    streams: Iterable[tuple[str, int]],
    topic_ids: Mapping[str, str] = MappingProxyType({}),
) -> dict[tuple[str, int], int]:
    """Give each (topic, partition) its dense id, known ones keeping theirs.

    Call it before the first frame that uses a new one.

    Args:
        folder: of the recording.
        streams: to add.
        topic_ids: of their topics, as far as the broker gives ids.

    Returns:
        All streams of the recording: (topic, partition) -> id.

    Raises:
        ConfigError: a topic had another id: its offsets are not those that were recorded.
    """
    wanted = list(streams)

    def change(manifest: Manifest) -> Manifest:
        for topic, was in manifest.topic_ids.items():
            if topic_ids.get(topic, was) != was:
                raise ConfigError(
                    f"topic {topic!r} was created anew since {folder} was recorded: its id is "
                    f"{topic_ids[topic]}, and was {was}",
                    cure="start a new recording, or read another topic",
                )
        rows = list(manifest.streams)
        known = {(s.topic, s.partition) for s in rows}
        for topic, partition in wanted:
            if (topic, partition) not in known:
                known.add((topic, partition))
                rows.append(Stream(len(rows), topic, partition))
        ids = {**manifest.topic_ids, **topic_ids}
        if len(rows) == len(manifest.streams) and ids == manifest.topic_ids:
            return manifest
        return msgspec.structs.replace(manifest, streams=rows, topic_ids=ids)

    return {(s.topic, s.partition): s.id for s in update_manifest(folder, change).streams}


def update_manifest(folder: Path, change: Callable[[Manifest], Manifest]) -> Manifest:
    """Replace the manifest by what `change` makes of it; the one way to change an open one.

    For whoever holds the journal, and its threads: one change at a time, each of what is there.
    """
    with _changing:
        manifest = load_manifest(folder)
        changed = change(manifest)
        if changed is not manifest:
            save_manifest(folder, changed)
        return changed


def _digest(whole: dict[str, Any]) -> str:
    # Over the values that stand in the file, not its text (a formatter may re-indent it), and not
    # over what this version makes of them: a field that came later must not change an old hash.
    return hashlib.sha256(msgspec.json.encode(whole, order="sorted")).hexdigest()


def _missing(folder: Path) -> RecordingMissing:
    if is_partial(folder):
        return RecordingMissing(
            f"{folder}: not a recording: it is what an import or export wrote and did not finish",
            cure="run that again: it removes this; or remove it",
        )
    left = [path.name for path in left_over(folder)]
    if left and not folder.exists():
        return RecordingMissing(
            f"{folder}: no such recording; an import or export of it was killed or is at work "
            f"({', '.join(left)})",
            cure="run it again: it removes what was left",
        )
    if folder.is_dir():
        names = sorted(p.name for p in folder.iterdir())
        listed = ", ".join(names[:6]) + (", …" if len(names) > 6 else "")
        found = f"a folder with {listed}" if names else "an empty folder"
        return RecordingMissing(
            f"{folder}: not a recording: found {found}, expected {MANIFEST}",
            cure="name the folder that holds the manifest, or make one with `parity import`",
        )
    if folder.exists():
        return RecordingMissing(
            f"{folder}: not a recording: found a file of {folder.stat().st_size} bytes",
            cure=f"make a recording from it: parity import {folder} REC",
        )
    near = folder.parent
    there = sorted(p.name for p in near.iterdir())[:6] if near.is_dir() else []
    return RecordingMissing(
        f"{folder}: no such recording; "
        + (f"{near} holds {', '.join(there) or 'nothing'}" if near.is_dir() else f"no {near}"),
        cure="check the path, or make one with `parity import` or `parity record`",
    )
