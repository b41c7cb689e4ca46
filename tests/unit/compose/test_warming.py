"""What is kept of a past, and what a run that goes on still knows of it."""

from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest

from parity.compose import modes, warming
from parity.compose.feeds import Feed
from parity.compose.modes import paper
from parity.compose.plans import prepare
from parity.compose.shards import Shard
from parity.compose.warming import ALL, WarmUp
from parity.model.events import Control
from parity.model.ticks import TickBatch
from parity.recording.journal import JournalWriter
from parity.recording.manifest import load_manifest
from parity.recording.pruning import prune
from parity.recording.reader import open_recording
from parity.recording.retention import Policy
from parity.recording.runs import RunFolder
from parity.recording.sealing import seal
from parity.recording.sequencer import Sequencer
from parity.recording.writer import RecordingWriter, create_recording
from parity.settings.drafts import StrategySpec
from parity.settings.strategies import load_strategies
from parity.sources import synthetic
from parity.sources.codecs.fills import FillDecoder

TABLE, TICKS = synthetic.generate(seed=3, ticks=2_000)
CUT = 800  # rows that are past
ONE, TWO = TABLE.tokens.tolist()
FILLS = "zerodha.orders.filled"


def write(folder: Path, records: np.ndarray, *, gap: bool = False) -> Path:
    """Write ticks as a recording, with a gap behind the last where asked to."""
    with RecordingWriter(folder, TABLE, order="ts_recv", created_by="test") as writer:
        made = Sequencer(TABLE).sequence(records.copy())
        seq, detail = int(made["seq"][-1]) + 1, {"stream": 0, "reason": "retention"}
        gaps = [Control(seq=seq, verb="gap", ts_recv=int(made["ts_recv"][-1]), detail=detail)]
        writer.append(TickBatch.from_records(made, TABLE), gaps if gap else ())
    return folder


@pytest.fixture
def past(tmp_path: Path) -> Path:
    """The ticks up to the cut, with a gap behind them."""
    return write(tmp_path / "past", TICKS[:CUT], gap=True)


def specs() -> list[StrategySpec]:
    """One strategy."""
    return load_strategies(["momentum"], ["lookback_periods=20", "threshold=0.001"])


def run(folder: Path, warm_up: WarmUp | None) -> RunFolder:
    """Run on paper over the ticks behind the cut, warmed."""
    source = folder.parent / f"{folder.name}-live"
    if not source.exists():
        write(source, TICKS[CUT:])
    return paper(folder, specs(), Feed(recording=source, warm_up=warm_up), table=TABLE).run


def test_a_gap_behind_the_past_is_journaled_once(past: Path, tmp_path: Path) -> None:
    """However often the run goes on."""
    for _ in range(3):
        found = run(tmp_path / "run", WarmUp(past, ALL))
        with open_recording(found.recording_path) as recording:
            gaps = [c.seq for c in recording.controls() if c.verb == "gap"]
        assert [CUT + 1] == gaps


def test_fills_are_read_from_where_they_are_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What came since an earlier run ended is of no order of this one; ticks join at its end."""
    streams = [("t", 0), (FILLS, 0)]
    create_recording(tmp_path / "past", TABLE, streams=streams, created_by="test")
    journal = JournalWriter(tmp_path / "past")
    journal.append(Sequencer(TABLE).sequence(TICKS[:CUT].copy()), (), {0: 700, 1: 4_000})
    journal.close()
    monkeypatch.setattr(warming, "_places", lambda *_: {("t", 0): 900, (FILLS, 0): 5_000})
    fills = {FILLS: FillDecoder("zerodha", TABLE, [])}
    asked = WarmUp(tmp_path / "past", ALL)
    warming._keep(tmp_path / "kept", Feed(["t"], fills=fills, warm_up=asked), asked, [], TABLE)

    with open_recording(tmp_path / "kept") as kept:
        assert CUT == kept.tick_rows
        begin = kept.manifest.origin["begin"]
    assert [["t", 0, 700, True], [FILLS, 0, 5_000, False]] == begin


@pytest.mark.parametrize(("partition", "tokens"), [(0, {TWO}), (1, set()), (2, {ONE})])
@pytest.mark.parametrize("wanted", [ALL, 50, None])
def test_a_shard_keeps_the_past_of_its_own_instruments(
    past: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    partition: int,
    tokens: set[int],
    wanted: int | str | None,
) -> None:
    """Whatever is asked for; of a recording that has all partitions."""
    shard = Shard((partition,), {"t": 3}, "consistent_random", dict)
    asked = WarmUp(past, wanted)
    monkeypatch.setattr(warming, "_places", lambda *_: {("t", partition): 0})
    feed = Feed(["t"], partitions=(partition,), shard=shard, warm_up=asked)
    warming._keep(tmp_path / "kept", feed, asked, prepare(specs(), table=TABLE).plans, TABLE)

    with open_recording(tmp_path / "kept") as kept:
        ticks = [b.ticks.column("instrument_token") for b in kept.batches()]
    assert tokens == {int(token) for column in ticks for token in column}


def test_an_instrument_is_waited_for_though_segments_were_pruned(
    past: Path, tmp_path: Path
) -> None:
    """What retention took of others says nothing of one that has not come yet."""
    live, own = tmp_path / "recording", TICKS[TICKS["instrument_token"] == ONE]
    create_recording(live, TABLE, streams=[("t", 0)], created_by="test")
    journal = JournalWriter(live, segment_bytes_max=2_000)
    records = Sequencer(TABLE).sequence(own.copy())
    for at in range(0, 200, 10):
        journal.append(records[at : at + 10])
    journal.close()
    seal(live)
    with open_recording(past) as read:
        assert {TWO} == warming._waiting(read, live).keys()
        half = sum(part.bytes for part in load_manifest(live).parts) // 2
        assert prune(live, Policy(keep_bytes=half), now_ns=2**60)
        with open_recording(live) as pruned:
            assert 0 < pruned.tick_rows < 200
        assert {TWO} == warming._waiting(read, live).keys()


class Killed(Exception):
    """The end of a runner, wherever it was."""


@pytest.mark.parametrize("how", ["without", "another"])
def test_a_run_names_what_it_was_warmed_from_and_no_other(
    past: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """A start that was killed before it kept a past leaves the name to the next one."""

    def kill(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(warming, "keep_past", kill)
        patched.setattr(modes, "_left_whole", nullcontext)  # a kill clears nothing up
        with pytest.raises(Killed):
            run(tmp_path / "run", WarmUp(past, ALL))
    begun = RunFolder(tmp_path / "run").manifest.settings["warm_up"]
    other = write(tmp_path / "other", TICKS[:CUT])
    found = run(tmp_path / "run", WarmUp(other) if how == "another" else None)
    again = run(tmp_path / "run", WarmUp(past))

    assert str(past) == begun
    expected = str(other) if how == "another" else None
    for one in (found, again):
        assert expected == one.manifest.settings.get("warm_up")
