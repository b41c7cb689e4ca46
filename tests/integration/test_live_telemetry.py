"""What a paper run keeps of its own time, beside what is proved of it."""

import json
from pathlib import Path

import pytest

import parity as pt
from parity.compose.feeds import Feed
from parity.compose.modes import paper
from parity.live import delivery
from parity.live.telemetry import FILE, STAGES, telemetry_of
from parity.recording.reader import open_recording
from parity.settings.strategies import load_strategies
from parity.sources.synthetic import make_recording

TICKS = 2_000
RULES = ["threshold=0.001"]


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """A small synthetic recording."""
    make_recording(tmp_path / "rec", seed=3, ticks=TICKS)
    return tmp_path / "rec"


def run_on_paper(run: Path, recording: Path) -> None:
    """Run to the recording's end, as fast as it goes."""
    with open_recording(recording) as read:
        table = read.table
    feed = Feed(recording=recording)
    paper(run, load_strategies(["momentum"], RULES), feed, table=table, checkpoint_ticks=500)


def test_a_paper_run_keeps_its_stages_and_proves_as_without(
    recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each signal has its way to the report; taking the file away changes no proof."""
    monkeypatch.setattr(delivery, "WAITS_EACH", 0)  # as many checkpoints as are told
    run_on_paper(tmp_path / "run", recording)
    found = telemetry_of(tmp_path / "run")
    signals = pt.open(tmp_path / "run").summary()["signals"]

    assert found is not None
    counts = {name: found.stages[name].count for name in STAGES}
    assert signals > 0
    assert signals == counts["deliver"] == counts["publish"]
    assert counts["journal"] == counts["decide"] > 0
    assert 0 < counts["sync"] <= signals
    assert found.stages["checkpoint"].count > 1
    assert found.stages["publish"].quantile(0.5) >= found.stages["deliver"].quantile(0.01)
    assert "identical" == pt.verify(tmp_path / "run").verdict
    assert not any(FILE in name for name in pt.open(tmp_path / "run").folder.manifest.files)
    (tmp_path / "run" / FILE).unlink()
    assert "identical" == pt.verify(tmp_path / "run").verdict


def test_a_run_that_goes_on_adds_to_it(recording: Path, tmp_path: Path) -> None:
    """The second start counts on, and edited measures are begun anew."""
    run = tmp_path / "run"
    run_on_paper(run, recording)
    first = telemetry_of(run)
    run_on_paper(run, recording)  # nothing is left to read, but its turn is counted
    again = telemetry_of(run)

    assert first is not None
    assert again is not None
    assert again.stages["journal"].count > first.stages["journal"].count
    assert first.stages["publish"].count == again.stages["publish"].count
    (run / FILE).write_text(json.dumps({"format": 1}))
    run_on_paper(run, recording)
    assert telemetry_of(run) is not None
