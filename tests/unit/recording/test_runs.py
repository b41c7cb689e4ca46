"""parity.recording.runs: what the writer of a run holds, and what it puts down."""

from pathlib import Path

import pyarrow.parquet as pq

from parity.model.effects import Transition
from parity.recording.runs import RecordingReference, RunFolder, RunManifest, RunWriter

BATCH = 3_000
HELD_MAX = 20_000


def test_a_long_run_holds_few_rows(tmp_path: Path) -> None:
    """However much was decided: what waits is bounded, and every row is on disk once, in order."""
    manifest = RunManifest(
        run_id="r", mode="backtest", created_by="", started="", seed=0, strategies=[], skipped=[],
        recording=RecordingReference(path="."), fingerprint={},
    )  # fmt: skip
    writer = RunWriter(tmp_path / "run", manifest)
    last = 0
    for _ in range(15):
        writer.write(
            Transition(seq, "a", "paper", "WARMUP", "ACTIVE", seq, "warm")
            for seq in range(last + 1, last + BATCH + 1)
        )
        last += BATCH
        writer.flush_if_large(last)
        assert writer.pending_rows < HELD_MAX
    writer.flush(last)
    parts = RunFolder(tmp_path / "run").parts("decisions")
    found = [seq for part in parts for seq in pq.read_table(part)["seq"].to_pylist()]

    assert [*range(1, last + 1)] == found
    assert 1 < len(parts) < 5
