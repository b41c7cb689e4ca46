"""Writing a slice as a recording of its own: small enough to keep beside a test.

Ticks and controls keep their order and are numbered anew from 1; everything else about a tick stays
as it was. Reads and writes batch by batch, and leaves nothing behind when it fails.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from parity.model import ticks as flag
from parity.model.events import RAW
from parity.model.extensions import PRESENT, Extension
from parity.model.instruments import InstrumentTable
from parity.model.ticks import TickBatch
from parity.recording.manifest import load_manifest
from parity.recording.writer import RecordingWriter

if TYPE_CHECKING:
    from pathlib import Path

    from parity.model.events import Control
    from parity.recording.manifest import Manifest
    from parity.recording.reader import Recording
    from parity.recording.slices import Progress, Slice

Ints = npt.NDArray[np.int64]
ORIGINAL_SEQ: Final = "original_seq"


def write_slice(
    recording: Recording,
    chosen: Slice,
    out: Path,
    *,
    created_by: str,
    origin: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Manifest:
    """Write a slice of a recording as a sealed recording, or nothing at all.

    Args:
        recording: what the slice was found in.
        chosen: from `find_slice`.
        out: folder of the new recording; must not exist, or be empty.
        created_by: for people.
        origin: more for the manifest's `origin`: what was asked for.
        progress: called with (ticks written, ticks of the slice).

    Raises:
        ConfigError: `out` holds something.
    """
    table = table_of(recording, chosen)
    first, last = chosen.seqs
    came_from: dict[str, Any] = {"recording_id": recording.manifest.recording_id}
    came_from |= {"first_seq": first, "last_seq": last, **(origin or {})}
    if recording.manifest.origin:
        came_from["origin"] = recording.manifest.origin
    with RecordingWriter(
        out,
        table,
        order=recording.manifest.order,
        created_by=created_by,
        warnings=shortage(recording, chosen),
        streams=recording.manifest.streams,
        origin=came_from,
    ) as writer:
        controls = Numbered(_controls(recording, chosen))
        total = sum(chosen.ticks.values()) + len(chosen.before)
        for ticks in slice_ticks(recording, chosen):
            seqs, mine = controls.among(ticks.column("seq"))
            columns = _with_original(ticks, table) | {"seq": seqs}
            writer.append(TickBatch(columns, table), mine)
            if progress is not None:
                progress(writer.tick_rows, total)
        writer.append(TickBatch.empty(table), controls.rest())
    return load_manifest(out)


def table_of(recording: Recording, chosen: Slice) -> InstrumentTable:
    """Return the instruments of a slice, each as it was, with `original_seq` as a column."""
    extensions = recording.table.extensions
    if ORIGINAL_SEQ not in {e.name for e in extensions}:
        extensions = (*extensions, Extension(ORIGINAL_SEQ, "integer"))
    instruments = [recording.table.by_token(token) for token in chosen.tokens]
    return InstrumentTable(instruments, extensions)


def _with_original(ticks: TickBatch, table: InstrumentTable) -> dict[str, npt.NDArray[Any]]:
    # A slice of a slice keeps the seqs of the first recording: they lead to where it came from.
    columns = {name: ticks.column(name) for name in ticks.names}
    if ORIGINAL_SEQ not in columns:
        before = columns.get(PRESENT, np.zeros(len(ticks), np.uint64))
        columns[PRESENT] = before | np.uint64(table.columns.bits[ORIGINAL_SEQ])
        columns[ORIGINAL_SEQ] = columns["seq"]
    return columns


def slice_ticks(recording: Recording, chosen: Slice) -> Iterator[TickBatch]:
    """Yield the ticks of a slice with their own seq, warm-up flagged, batch by batch."""
    low, high = chosen.span_ns
    for batch in recording.batches(instruments=chosen.range.tokens, start_ns=low, end_ns=high + 1):
        rows, warm = chosen.choose(batch.ticks) if len(batch.ticks) else (np.zeros(0, int), None)
        if not len(rows):
            continue
        ticks = batch.ticks if len(rows) == len(batch.ticks) else batch.ticks.take(rows)
        if warm is not None and warm.any():
            flags = ticks.column("flags") | np.where(warm, flag.WARMUP, 0).astype(np.uint32)
            columns = {name: ticks.column(name) for name in ticks.names} | {"flags": flags}
            ticks = TickBatch(columns, ticks.table)
        yield ticks


def shortage(recording: Recording, chosen: Slice) -> list[str]:
    """Return a line for each instrument that has fewer warm-up ticks than were wanted.

    A kind of which it has none is no news where there is warm-up of the other kind.
    """
    return [
        f"{recording.table.by_token(token).symbol} ({token}): {found} of {wanted} warm-up {kind} "
        "before the slice: the recording has no more"
        for kind, token, found, wanted in chosen.short
        if found or token not in chosen.warmed
    ]


def _controls(recording: Recording, chosen: Slice) -> list[Control]:
    """Return the controls among the ticks of the slice; at an open side, all that come there."""
    first, last = chosen.seqs
    low = min([first, *chosen.before[:1].tolist()]) if chosen.range.start_ns is not None else 0
    high = last if chosen.range.end_ns is not None else 2**63
    # Payloads stay where they are whole: a slice has not all the ticks that they gave.
    return [c for c in recording.controls() if low <= c.seq <= high and c.verb != RAW]


class Numbered:
    """Gives ticks and the controls among them their new seq, from 1 without gaps.

    Args:
        controls: all that are to stand among the ticks, in seq order.
    """

    def __init__(self, controls: Sequence[Control]) -> None:
        self._controls = list(controls)
        self._seqs = np.array([c.seq for c in controls], np.int64)
        self._at = 0  # controls numbered
        self._next = 1

    def among(self, seqs: Ints) -> tuple[Ints, list[Control]]:
        """Return the ticks' new seqs, and the controls that come before the last of them."""
        upto = int(self._seqs.searchsorted(seqs[-1]))
        own = self._seqs[self._at : upto]
        union = np.sort(np.concatenate([seqs, own]))
        made = self._next + union.searchsorted(seqs)
        numbers = (self._next + union.searchsorted(own)).tolist()
        return made, self._take(numbers, len(union))

    def rest(self) -> list[Control]:
        """Return the controls behind the last tick."""
        left = len(self._controls) - self._at
        return self._take(list(range(self._next, self._next + left)), left)

    def _take(self, numbers: Sequence[int], events: int) -> list[Control]:
        mine = self._controls[self._at : self._at + len(numbers)]
        self._at += len(numbers)
        self._next += events
        return [
            msgspec.structs.replace(c, seq=n, detail={ORIGINAL_SEQ: c.seq} | c.detail)
            for c, n in zip(mine, numbers, strict=True)
        ]
