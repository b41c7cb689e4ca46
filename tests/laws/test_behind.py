"""What lies behind a seq is the end of the whole, wherever segments end and whatever was pruned."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parity.model.errors import RecordingCorrupt
from parity.model.events import Control, EventBatch
from parity.recording.behind import behind
from parity.recording.journal import JournalWriter
from parity.recording.manifest import MANIFEST, load_manifest
from parity.recording.pruning import prune
from parity.recording.reader import open_recording
from parity.recording.retention import Policy
from parity.recording.sealing import seal
from parity.recording.writer import create_recording
from parity.sources import synthetic

TABLE, TICKS = synthetic.generate(ticks=60)
BYTES = 1_500  # a handful of ticks to a segment


def written(folder: Path, kinds: list[bool], *, sealed_at: int) -> list[int]:
    """Journal ticks (True) and controls, one a frame; seal what has ended by then."""
    create_recording(folder, TABLE, streams=[("t", 0)], created_by="test")
    for lo, hi in ((0, sealed_at), (sealed_at, len(kinds))):
        with JournalWriter(folder, segment_bytes_max=BYTES, durability="os") as journal:
            for seq in range(lo + 1, hi + 1):
                records = TICKS[seq % len(TICKS)][None].copy()[: int(kinds[seq - 1])]
                records["seq"], records["ts_recv"] = seq, seq
                controls = (
                    () if kinds[seq - 1] else (Control(seq=seq, ts_recv=1, verb="note", detail={}),)
                )
                journal.append(records, controls, {0: seq})
        if lo == 0 and sealed_at:
            seal(folder)
    return list(range(1, len(kinds) + 1))


def seqs(batches: list[EventBatch]) -> list[int]:
    """Return every seq, in the order of the batches."""
    return [
        seq
        for batch in batches
        for seq in sorted([*batch.ticks.column("seq").tolist(), *(c.seq for c in batch.controls)])
    ]


@given(st.lists(st.booleans(), min_size=1, max_size=50), st.integers(0, 50), st.integers(0, 50))
def test_behind_is_the_end_of_the_whole(
    tmp_path_factory: pytest.TempPathFactory, kinds: list[bool], sealed_at: int, seq: int
) -> None:
    """Every event with a larger seq, each once, in order, as ticks and controls."""
    folder = tmp_path_factory.mktemp("behind") / "rec"
    every = written(folder, kinds, sealed_at=min(sealed_at, len(kinds)))
    with open_recording(folder) as recording:
        found = list(behind(recording, seq))
        whole = [b.ticks.to_records() for b in recording.batches()]

    assert [n for n in every if n > seq] == seqs(found)
    ticks = np.concatenate([b.ticks.to_records() for b in found]) if found else TICKS[:0]
    expected = np.concatenate(whole) if whole else TICKS[:0]
    assert expected[expected["seq"] > seq].tolist() == ticks.tolist()


def test_segments_before_it_are_not_read(tmp_path: Path) -> None:
    """Their parts may be gone; a missing part behind it is named."""
    folder = tmp_path / "rec"
    written(folder, [True] * 50, sealed_at=50)
    parts = load_manifest(folder).parts
    assert len(parts) > 2
    with open_recording(folder) as recording:
        (folder / parts[0].file).unlink()
        assert list(range(parts[0].last_seq + 1, 51)) == seqs(
            list(behind(recording, parts[0].last_seq))
        )
        with pytest.raises(RecordingCorrupt):
            list(behind(recording, parts[0].last_seq - 1))


def test_what_comes_next_and_is_not_there_is_refused(tmp_path: Path) -> None:
    """A manifest whose middle was cut out does not pass for a recording that goes on there."""
    folder = tmp_path / "rec"
    written(folder, [True] * 50, sealed_at=50)
    first, second, *_ = load_manifest(folder).parts
    text = (folder / MANIFEST).read_text()
    assert second.file in text
    with open_recording(folder) as recording:
        recording.manifest.parts.remove(second)
        with pytest.raises(RecordingCorrupt, match=f"follows seq {first.last_seq}"):
            list(behind(recording, first.last_seq))


def test_behind_what_was_pruned_all_is_there(tmp_path: Path) -> None:
    """Pruning what was read already takes nothing away."""
    folder = tmp_path / "rec"
    every = written(folder, [True] * 50, sealed_at=50)
    prune(folder, Policy(keep_bytes=1), now_ns=2**60, needs=[])
    gone = load_manifest(folder).gone
    assert gone
    with open_recording(folder) as recording:
        assert [n for n in every if n > gone[-1].last_seq] == seqs(
            list(behind(recording, gone[-1].last_seq))
        )
