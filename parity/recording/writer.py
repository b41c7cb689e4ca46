"""New recordings: the whole of an import at once, or the empty one that a live run fills.

An import is written into a hidden sibling folder and renamed when complete, so that a recording
either is there whole or is not there. One that is appended to gets further parts, which count only
when the manifest names them: that is one rename too. What a kill leaves is removed by the next
import into the same recording.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import uuid
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from parity.model.errors import ConfigError, InputRefused
from parity.recording import layout
from parity.recording.chunks import TickWriter
from parity.recording.disk import HashedFile, sync_folder
from parity.recording.holding import hold, is_bare, remove_left_over, temporary_of
from parity.recording.manifest import (
    Manifest,
    Part,
    Stream,
    load_manifest,
    save_manifest,
    scales_of,
)
from parity.recording.resume import save_resume
from parity.recording.scan import cpu_count

if TYPE_CHECKING:
    from types import TracebackType

    from parity.model.events import Control
    from parity.model.instruments import InstrumentTable
    from parity.model.ticks import TickBatch

ORDERS: Final = ("ts_event", "ts_recv", "arrival")
_FOLDERS: Final = ("ticks", "events", "journal")
PART_ROWS_MAX: Final = 32 * layout.ROW_GROUP_ROWS


def create_recording(
    folder: Path,
    table: InstrumentTable,
    *,
    order: str = "arrival",
    created_by: str,
    streams: Iterable[tuple[str, int]] = (),
    durability: str = "fdatasync",
    shard: Mapping[str, Any] | None = None,
) -> Manifest:
    """Make an empty open recording, for a JournalWriter to fill.

    Args:
        folder: must not exist, or hold no more than a kill during this call leaves.
        table: instruments with the scales all ticks will have.
        order: what seq follows; a live run has "arrival".
        created_by: for people: program, version, what it was asked.
        durability: as the JournalWriter will have it.
        streams: (topic, partition) in the order of their dense ids; `add_streams` adds later ones.
        shard: the partitions of topics it has, where it is one of several; None is all.

    Raises:
        ConfigError: the folder holds something, or an argument is not known.
    """
    folder = Path(folder)
    _check_order(order)
    if not is_bare(folder, _FOLDERS):
        _check_free(folder)
    folder.mkdir(parents=True, exist_ok=True)
    manifest = Manifest(
        recording_id=uuid.uuid4().hex,
        state="open",
        order=order,
        created_by=created_by,
        scales=scales_of(table),
        instruments=table.to_json(),
        streams=[Stream(n, topic, part) for n, (topic, part) in enumerate(streams)],
        durability=durability,
        extensions=list(table.extensions),
        shard=dict(shard or {}),
    )
    for name in _FOLDERS:
        (folder / name).mkdir(exist_ok=True)
    save_manifest(folder, manifest)
    sync_folder(folder.parent)
    return manifest


class RecordingWriter:
    """Writes an import, tick by tick in seq order, into a sealed recording.

    The bytes of the parts depend on the ticks only, never on how they were cut into batches; the
    recording_id is a hash of them and of the table.

    Args:
        folder: the recording to make; must not exist, or be empty.
        order: what seq follows: "ts_event", "ts_recv" or "arrival".
        warnings: for the manifest; more can be appended to `.warnings` until close.
        streams: topics and partitions by the ids that the ticks carry.
        origin: what a slice was cut from, for the manifest.
        append: add parts to the sealed recording that is there, which the caller holds. Its id is
            another one afterwards.

    As a context manager it closes on success and aborts on an exception.
    """

    def __init__(
        self,
        folder: Path,
        table: InstrumentTable,
        *,
        order: str,
        created_by: str,
        warnings: Iterable[str] = (),
        streams: Sequence[Stream] = (),
        origin: Mapping[str, Any] | None = None,
        append: bool = False,
    ) -> None:
        self.folder = Path(folder)
        _check_order(order)
        self._before = load_manifest(self.folder) if append else None
        if self._before is None:
            _check_free(self.folder)
        self.table = table
        self.warnings = list(warnings)
        self.tick_rows = 0
        self._order = order
        self._created_by = created_by
        self._streams = list(streams)
        self._origin = dict(origin or {})
        self._scales = scales_of(table) if self._before is None else self._before.scales
        self.resume: tuple[dict[str, Any], int] | None = None  # what `save_resume` keeps
        self._last_seq = 0 if self._before is None else self._before.last_seq
        self._waiting: list[Mapping[str, npt.NDArray[Any]]] = []
        self._waiting_rows = 0
        self._controls: list[Control] = []
        self._parts: list[Part] = []
        self._part = TickPart(self._scales, table, threads=cpu_count())
        self._finished = False
        self._temporary = temporary_of(self.folder)
        if self._before is not None:
            self._temporary = self.folder
        self._held = -1
        self._made = False

    def append(self, batch: TickBatch, controls: Sequence[Control] = ()) -> None:
        """Add ticks and controls that carry their seq, following the last ones without a gap."""
        self._make_folder()
        self._last_seq = check_follows(
            self._last_seq, batch.column("seq") if len(batch) else None, controls
        )
        self._controls.extend(controls)
        if not len(batch):
            return
        self._waiting.append({n: batch.column(n) for n in self.table.columns.names})
        self._waiting_rows += len(batch)
        self.tick_rows += len(batch)
        if self._waiting_rows >= layout.ROW_GROUP_ROWS:
            self._write_groups(layout.ROW_GROUP_ROWS)

    def close(self) -> Manifest:
        """Finish the recording and give it its name."""
        self._make_folder()
        if self._waiting_rows:
            self._write_groups(1)
        self._finish_part()
        if self._controls:
            self._parts.append(event_part(self._temporary, self._controls))
        manifest = self._manifest()
        if self.resume is not None:
            save_resume(self._temporary, manifest, *self.resume)
        save_manifest(self._temporary, manifest)
        if self._before is None:
            _check_free(self.folder)  # somebody else may have made it meanwhile
            self._temporary.replace(self.folder)
            sync_folder(self.folder.parent)
        self._finished = True
        self._let_go()
        return manifest

    def _manifest(self) -> Manifest:
        if self._before is not None:
            parts = [*self._before.parts, *self._parts]
            return msgspec.structs.replace(
                self._before,
                recording_id=_content_id(self.table, parts),
                parts=parts,
                instruments=self.table.to_json(),
                warnings=[*self._before.warnings, *self.warnings],
                extensions=list(self.table.extensions),
            )
        return Manifest(
            recording_id=_content_id(self.table, self._parts),
            state="sealed",
            order=self._order,
            created_by=self._created_by,
            scales=self._scales,
            instruments=self.table.to_json(),
            streams=self._streams,
            parts=self._parts,
            warnings=self.warnings,
            extensions=list(self.table.extensions),
            origin=self._origin,
        )

    def abort(self) -> None:
        """Give up and leave nothing behind."""
        if not self._finished:
            self._part.discard()
            if self._before is None:
                shutil.rmtree(self._temporary, ignore_errors=True)
            elif self._made:
                self._remove_unnamed()
            self._finished = True
            self._let_go()

    def __enter__(self) -> RecordingWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            self.abort()
            return
        try:
            self.close()
        finally:
            self.abort()  # does nothing after a close that succeeded

    def _make_folder(self) -> None:
        # Not in __init__: an interrupt between it and the with block would leave the folder.
        if self._made:
            return
        if self._before is None:
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            remove_left_over(self.folder)
            self._held = hold(self._temporary)
        for name in ("ticks", "events"):
            (self._temporary / name).mkdir(parents=True, exist_ok=True)
        self._made = True
        if self._before is not None:
            self._remove_unnamed()

    def _remove_unnamed(self) -> None:
        # What an append wrote before its manifest is no part of the recording.
        named = {p.file for p in self._before.parts} if self._before is not None else set()
        for name in ("ticks", "events"):
            for path in (self.folder / name).iterdir():
                ours = path.suffix in (".parquet", ".tmp")
                if ours and str(path.relative_to(self.folder)) not in named:
                    path.unlink()

    def _let_go(self) -> None:
        if self._held >= 0:
            os.close(self._held)
            self._held = -1

    def _write_groups(self, group_rows: int) -> None:
        names = self.table.columns.names
        columns = {n: _joined([w[n] for w in self._waiting]) for n in names}
        rows = self._waiting_rows
        done = rows - rows % group_rows
        for lo in range(0, done, layout.ROW_GROUP_ROWS):
            hi = min(lo + layout.ROW_GROUP_ROWS, done)
            self._part.write(self._temporary, {n: c[lo:hi] for n, c in columns.items()})
            if self._part.rows >= PART_ROWS_MAX:
                self._finish_part()
        self._waiting = [{n: c[done:] for n, c in columns.items()}] if done < rows else []
        self._waiting_rows = rows - done

    def _finish_part(self) -> None:
        part = self._part.finish()
        if part is not None:
            self._parts.append(part)
        self._part = TickPart(self._scales, self.table, threads=cpu_count())


def _joined(pieces: Sequence[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    # One piece is taken as it is; the same one value in all of them stays one.
    first = pieces[0]
    if len(pieces) == 1:
        return first
    if all(p.strides == (0,) and len(p) and p[0] == first[0] for p in pieces):
        return np.broadcast_to(first[0], sum(map(len, pieces)))
    return np.concatenate(pieces)


class TickPart:
    """One Parquet file of ticks being written under a temporary name; named when complete.

    Args:
        scales: of the recording.
        table: of its ticks.
        threads: how many encode at once.
    """

    def __init__(
        self, scales: Mapping[str, int], table: InstrumentTable, *, threads: int = 1
    ) -> None:
        self.rows = 0
        self._threads = threads
        self._scales = scales
        self._table = table
        self._file: HashedFile | None = None
        self._ticks: TickWriter | None = None
        self._first = self._last = 0

    def write(self, folder: Path, columns: Mapping[str, npt.NDArray[Any]]) -> None:
        """Add rows as one row group (or more, where they are many)."""
        if self._file is None or self._ticks is None:
            self._first = int(columns["seq"][0])
            self._folder = folder
            self._path = folder / part_name("ticks", self._first)
            self._file = HashedFile(self._path.with_suffix(".tmp"))
            self._ticks = TickWriter(self._file, self._table, self._scales, threads=self._threads)
        self._ticks.write(columns)
        self._last = int(columns["seq"][-1])
        self.rows += len(columns["seq"])

    def finish(self) -> Part | None:
        """Close, fsync and rename the file; None where nothing was written."""
        if self._file is None or self._ticks is None:
            return None
        self._ticks.close()
        part = _named(
            self._file, self._folder, self._path, "ticks", self.rows, self._first, self._last
        )
        self._file = None
        return part

    def discard(self) -> None:
        """Close the file without naming it; a second call, or one after finish, does nothing."""
        if self._file is not None:
            if self._ticks is not None:
                self._ticks.discard()
            self._file.close()
            self._file = None

    def remove(self) -> None:
        """Discard it and leave no file, unless the disk refuses: then the next sealing does."""
        if self._file is not None:
            self.discard()
            with contextlib.suppress(OSError):
                self._path.with_suffix(".tmp").unlink()


def event_part(folder: Path, controls: Sequence[Control], *, file: str = "") -> Part:
    """Write controls as one part, named by its first seq or as asked."""
    first, last = controls[0].seq, controls[-1].seq
    path = folder / (file or part_name("events", first))
    out = HashedFile(path.with_suffix(".tmp"))
    try:
        layout.write_events(out, controls)
        return _named(out, folder, path, "events", len(controls), first, last)
    finally:
        out.close()


def part_name(kind: str, first_seq: int) -> str:
    """Return the path of a part inside its recording; sorting names sorts by seq."""
    return f"{kind}/{first_seq:012d}.parquet"


def _named(
    file: HashedFile, folder: Path, path: Path, kind: str, rows: int, first: int, last: int
) -> Part:
    return Part(
        file=str(path.relative_to(folder)),
        kind=kind,
        sha256=file.finish(path),
        bytes=file.bytes,
        rows=rows,
        first_seq=first,
        last_seq=last,
    )


def check_follows(
    last_seq: int, seqs: npt.NDArray[np.int64] | None, controls: Sequence[Control]
) -> int:
    """Return the new last seq, or refuse ticks and controls that leave a gap or turn back."""
    union = np.array([c.seq for c in controls], np.int64)
    if seqs is not None:
        union = np.sort(np.concatenate([seqs, union])) if len(union) else seqs
    if not len(union):
        return last_seq
    rising = seqs is None or bool((seqs[1:] > seqs[:-1]).all())
    follows = int(union[0]) == last_seq + 1 or (last_seq == 0 and union[0] >= 1)
    if not rising or not follows or (np.diff(union) != 1).any():
        raise InputRefused(
            f"events with seq {int(union[0])}..{int(union[-1])} ({len(union)} of them) do not "
            f"follow seq {last_seq} one by one",
            cure="give every tick and control its seq with one Sequencer, in order",
        )
    return int(union[-1])


def _check_order(order: str) -> None:
    if order not in ORDERS:
        raise ConfigError(f"order: expected one of {', '.join(ORDERS)}, was {order!r}")


def _check_free(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(
            f"{folder}: exists and is not empty", cure="name a new folder, or remove this one"
        )


def _content_id(table: InstrumentTable, parts: Sequence[Part]) -> str:
    held: list[Any] = [table.to_json(), [p.sha256 for p in parts]]
    if table.extensions:
        held.append(table.extensions)
    body = msgspec.json.encode(held)
    return hashlib.blake2b(body, digest_size=16).hexdigest()
