"""What status tells of a run: from its runner while that lives, from its files alone after that."""

import asyncio
import json
from pathlib import Path

import pytest

from parity.compose.feeds import Feed
from parity.compose.modes import paper
from parity.compose.status import status_of
from parity.live.door import Door
from parity.model.errors import RecordingCorrupt
from parity.recording.reader import open_recording
from parity.recording.runs import MANIFEST
from parity.settings.strategies import load_strategies
from parity.sources.synthetic import make_recording


def test_a_living_run_is_asked_and_its_decisions_are_not_read(tmp_path: Path) -> None:
    """A day of them would be read only to be thrown away: here they cannot be read at all."""
    run = tmp_path / "run"
    make_recording(tmp_path / "rec", seed=5, ticks=500)
    with open_recording(tmp_path / "rec") as read:
        table = read.table
    paper(run, load_strategies(["momentum"]), Feed(recording=tmp_path / "rec"), table=table)
    manifest = json.loads((run / MANIFEST).read_text())
    (run / MANIFEST).write_text(json.dumps(manifest | {"state": "open", "report": None}))
    for part in (run / "decisions").iterdir():
        part.write_bytes(b"no Parquet")
    (run / "recording" / MANIFEST).write_bytes(b"no manifest")
    said = [{"strategy_id": "momentum", "state": "PAUSED"}]

    async def asked() -> dict[str, object]:
        door = Door(run, lambda: {"strategies": said, "last_seq": 7})
        await door.open()
        try:
            return await asyncio.to_thread(status_of, run)
        finally:
            await door.close()

    found = asyncio.run(asked())

    assert (said, 7, True) == (found["strategies"], found["last_seq"], found["alive"])
    with pytest.raises(RecordingCorrupt):
        status_of(run)  # nobody is there to be asked


def test_a_killed_run_counts_what_its_report_would(tmp_path: Path) -> None:
    """From the decisions alone: signals, drops by reason, refused orders among them, and fills."""
    run = tmp_path / "run"
    make_recording(tmp_path / "rec", seed=5, ticks=2_000)
    with open_recording(tmp_path / "rec") as read:
        table = read.table
    rows = load_strategies(
        ["low_frequency_demo", "mean_reversion"], ["low_frequency_demo.min_interval_seconds=60"]
    )
    paper(run, rows, Feed(recording=tmp_path / "rec"), table=table)
    reported = {one["strategy_id"]: one for one in status_of(run)["strategies"]}
    manifest = json.loads((run / MANIFEST).read_text())
    (run / MANIFEST).write_text(json.dumps(manifest | {"state": "open", "report": None}))

    read_out = {one["strategy_id"]: one for one in status_of(run)["strategies"]}

    assert "paper_short_not_allowed" in reported["low_frequency_demo"]["drops"]
    assert reported == read_out
