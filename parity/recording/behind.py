"""What a recording holds behind a seq, without reading what came before it.

For a restart that has a checkpoint, and for a proof that goes on beside the run. Sealed segments
that end before the seq are left out whole; order is checked in the rest.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from parity.model.errors import RecordingCorrupt
from parity.model.events import EventBatch
from parity.recording.manifest import repair_cure
from parity.recording.reader import Recording

if TYPE_CHECKING:
    from parity.recording.manifest import Manifest


def behind(recording: Recording, seq: int) -> Iterator[EventBatch]:
    """Yield the events of a recording behind a seq, in order.

    Args:
        recording: sealed, or still written to.
        seq: the last that is not wanted; 0 is everything.

    Raises:
        RecordingCorrupt: order is wrong, or the next event is not there any more.
    """
    kept = _without(recording.manifest, seq)
    expected = seq + 1
    rest = Recording(recording.path, kept, recording.journal, cached=recording.cached)
    for batch in _cut(rest.batches(), seq):
        if expected:
            first = _first_seq(batch)
            if first != expected and not any(g.first_seq <= expected for g in kept.gone):
                raise RecordingCorrupt(
                    f"{recording.path}: seq {first} follows seq {seq}",
                    cure=repair_cure(recording.path),
                )
            expected = 0
        yield batch


def _without(manifest: Manifest, seq: int) -> Manifest:
    """Return a manifest without the segments that end at a seq or before."""
    cut = max((s.last_seq for s in manifest.segments if s.last_seq <= seq), default=0)
    for gone in manifest.gone:
        if gone.first_seq <= cut < gone.last_seq:
            cut = gone.first_seq - 1
    return msgspec.structs.replace(
        manifest,
        parts=[part for part in manifest.parts if part.first_seq > cut],
        segments=[one for one in manifest.segments if one.last_seq > cut],
        gone=[gone for gone in manifest.gone if gone.last_seq > cut],
    )


def _cut(batches: Iterable[EventBatch], seq: int) -> Iterator[EventBatch]:
    for batch in batches:
        if batch.last_seq > seq:
            ticks = batch.ticks
            lo = int(np.searchsorted(ticks.column("seq"), seq, side="right"))
            controls = tuple(c for c in batch.controls if c.seq > seq)
            yield EventBatch(ticks.slice(lo, len(ticks)), controls)


def _first_seq(batch: EventBatch) -> int:
    firsts = [int(batch.ticks.column("seq")[0])] if len(batch.ticks) else []
    return min(firsts + [c.seq for c in batch.controls[:1]])
