"""The runner without a broker: what arrives is journaled in order, kept, and sealed."""

import asyncio
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from brokerless import Brokerless
from faulty import Late
from leaping import LeapingLoop

from parity.core.engine import Engine
from parity.core.executor import ExecutorPlan
from parity.live.clock import ClockSteps, anchored_clock
from parity.live.delivery import Delivery
from parity.live.ending import Ending
from parity.live.runner import Interrupted, Limits, Outcome, Strategies
from parity.live.start import start
from parity.model.errors import ServiceDown
from parity.model.values import MarketTick, SignalResult, StrategyConfig
from parity.recording.manifest import load_manifest
from parity.recording.reader import open_recording
from parity.recording.rotation import Rotation
from parity.recording.runs import RecordingReference, RunManifest, RunWriter
from parity.recording.writer import create_recording
from parity.sources import synthetic
from parity.sources.arrivals import Arrivals, Note, Stream

TABLE, TICKS = synthetic.generate(ticks=60)


class Script(Brokerless):
    """A source that hands over what the test wrote down."""

    def __init__(self, arrivals: list[Arrivals | Exception]) -> None:
        super().__init__(("script", 0))
        self.arrivals = list(arrivals)
        self.started_at: dict[Stream, int] = {}
        self.placed = False
        self.stopped = False
        self.stop_me: asyncio.Event | None = None

    def start_at(self, positions: Mapping[Stream, int]) -> None:
        """Note the positions."""
        self.started_at = dict(positions)
        self.placed = True

    def positions(self) -> dict[int, int]:
        """Where it starts."""
        return {0: self.started_at.get(("script", 0), 0)}

    async def take(self, wait_s: float) -> Arrivals | None:
        """Return the next of the script."""
        if not self.arrivals:
            return None
        arrived = self.arrivals.pop(0)
        if isinstance(arrived, Exception):
            raise arrived
        return arrived

    def stop(self) -> None:
        """Note the stop."""
        self.stopped = True


def arrivals(lo: int, hi: int, *notes: Note) -> Arrivals:
    """Return ticks lo..hi-1 as they arrive."""
    records = TICKS[lo:hi].copy()
    records["stream"] = 0
    records["offset"] = np.arange(lo, hi)
    return Arrivals(records, list(notes), {0: hi})


def record(
    folder: Path, source: Script, stop: bool = False, rotation: Rotation | None = None
) -> Outcome:
    """Record what the script hands over."""

    async def scenario() -> Outcome:
        asked = asyncio.Event()
        if stop:
            asked.set()
        return await start(folder, TABLE, source, created_by="test", stop=asked, rotation=rotation)

    return asyncio.run(scenario())


def kept(folder: Path) -> tuple[np.ndarray, list[tuple[int, str]]]:
    """Return ticks and controls of a recording."""
    recording = open_recording(folder)
    ticks = [batch.ticks.to_records() for batch in recording.batches()]
    return np.concatenate(ticks), [(c.seq, c.verb) for c in recording.controls()]


def test_ticks_and_notes_share_one_order(tmp_path: Path) -> None:
    """Notes get the seq between their neighbours, whatever stands beside them."""
    gap, bad = Note(0, "gap", {"stream": 0}), Note(2, "quarantine", {"stream": 0})
    end = Note(3, "quarantine", {"stream": 0})
    script = Script([arrivals(0, 3, gap, bad, end), arrivals(3, 5)])
    outcome = record(tmp_path / "rec", script)

    ticks, controls = kept(tmp_path / "rec")
    assert [(1, "gap"), (4, "quarantine"), (6, "quarantine")] == controls
    assert [2, 3, 5, 7, 8] == ticks["seq"].tolist()
    assert (5, 8, 2, 1) == (
        outcome.ticks,
        outcome.last_seq,
        outcome.quarantined,
        outcome.gaps,
    )
    assert (np.diff(ticks["ts_recv"]) >= 0).all()


def test_segments_become_parts_while_it_goes_on(tmp_path: Path) -> None:
    """Cut by size, sealed behind the loop and at its end: every tick once, in order."""
    folder = tmp_path / "rec"
    script = Script([arrivals(n, n + 5) for n in range(0, 60, 5)])
    record(folder, script, rotation=Rotation(bytes_max=1200))
    manifest = load_manifest(folder)

    assert list(range(60)) == kept(folder)[0]["offset"].tolist()
    assert list(range(1, 7)) == [segment.number for segment in manifest.segments]
    assert ("sealed", 6) == (manifest.state, len(manifest.parts))
    assert not (folder / "journal").exists()


def test_a_start_that_was_cut_short_leaves_the_source_its_own_beginning(tmp_path: Path) -> None:
    """A manifest without a position yet places nothing: the source begins as a new run's does."""
    create_recording(tmp_path / "rec", TABLE, streams=[("script", 0)], created_by="test")
    begun = Script([arrivals(0, 30)])
    record(tmp_path / "rec", begun)
    again = Script([arrivals(30, 60)])
    record(tmp_path / "rec", again)

    assert not begun.placed
    assert {("script", 0): 30} == again.started_at


def test_recording_goes_on_behind_its_end(tmp_path: Path) -> None:
    """A second recorder is placed behind the last offset and notes that it went on."""
    record(tmp_path / "rec", Script([arrivals(0, 30)]))
    again = Script([arrivals(30, 60)])
    record(tmp_path / "rec", again)

    ticks, controls = kept(tmp_path / "rec")
    assert {("script", 0): 30} == again.started_at
    assert list(range(60)) == ticks["offset"].tolist()
    assert [(31, "resumed")] == controls


def test_start_of_a_silent_recording_is_kept(tmp_path: Path) -> None:
    """A recorder that saw nothing goes on where it began, not where the topic begins."""
    first = Script([])
    first.started_at = {("script", 0): 41}
    record(tmp_path / "rec", first)
    again = Script([])
    record(tmp_path / "rec", again)

    assert {("script", 0): 41} == again.started_at


def test_offset_seen_before_is_a_duplicate_across_restarts(tmp_path: Path) -> None:
    """The sequencer of a second recorder knows what the first one saw."""
    record(tmp_path / "rec", Script([arrivals(0, 30)]))
    record(tmp_path / "rec", Script([arrivals(29, 31)]))

    ticks, _ = kept(tmp_path / "rec")
    flagged = (ticks["flags"] & np.uint32(1 << 16)) != 0
    assert [29] == ticks["offset"][flagged].tolist()


def test_stop_takes_what_was_read(tmp_path: Path) -> None:
    """A stop ends the reading; what the source still holds is recorded and sealed."""
    script = Script([arrivals(0, 5), arrivals(5, 9)])
    record(tmp_path / "rec", script, stop=True)

    assert script.stopped
    assert 9 == len(kept(tmp_path / "rec")[0])
    assert "sealed" == open_recording(tmp_path / "rec").manifest.state


def test_stop_is_bounded_whatever_was_read(tmp_path: Path) -> None:
    """What cannot be taken in time is left to the next start, which finds it where it was."""

    async def scenario() -> None:
        asked = asyncio.Event()
        asked.set()
        source = Script([arrivals(lo, lo + 10) for lo in range(0, 60, 10)])
        limits = Limits(drain_s=-1)
        given = {"created_by": "test", "stop": asked, "limits": limits}
        await start(tmp_path / "rec", TABLE, source, **given)
        assert source.arrivals

    asyncio.run(scenario())
    before = len(open_recording(tmp_path / "rec").next_positions())
    again = Script([arrivals(0, 60)])
    record(tmp_path / "rec", again)

    assert 1 == before
    assert {("script", 0): 0} == again.started_at
    assert list(range(60)) == kept(tmp_path / "rec")[0]["offset"].tolist()


def test_what_a_stop_has_no_time_to_seal_is_left_to_the_next_start(tmp_path: Path) -> None:
    """All that was read is kept in the journal, the end says so, and the next start seals it."""
    folder = tmp_path / "rec"
    given = Rotation(bytes_max=1200, stop_s=0)
    with pytest.raises(Interrupted, match="0 s after the stop not all was sealed"):
        record(folder, Script([arrivals(n, n + 5) for n in range(0, 40, 5)]), True, given)
    open_, ticks = load_manifest(folder), kept(folder)[0]
    again = Script([arrivals(40, 60)])
    record(folder, again, rotation=given)  # nobody asks for a stop

    assert ("open", 40) == (open_.state, len(ticks))
    assert {("script", 0): 40} == again.started_at
    assert list(range(60)) == kept(folder)[0]["offset"].tolist()
    assert "sealed" == load_manifest(folder).state


def test_the_time_of_a_stop_runs_from_its_first_look() -> None:
    """It is over so many seconds behind it, and never where nobody asked."""
    now_s, stop = [100.0], asyncio.Event()
    ending, patient = (Ending(stop, s, lambda: now_s[0]) for s in (4.0, math.inf))

    def over() -> tuple[bool, bool]:
        return ending.is_over(), patient.is_over()

    assert (False, False) == over()
    now_s[0] = 1000.0
    assert (False, False) == over()
    stop.set()
    assert (False, False) == over()
    now_s[0] = 1003.9
    assert (False, False) == over()
    now_s[0] = 1004.0
    assert (True, False) == over()


def test_failing_source_leaves_a_readable_journal(tmp_path: Path) -> None:
    """What came before the failure is kept, the recording stays open, and the error is itself."""
    with pytest.raises(ServiceDown, match="gone"):
        record(tmp_path / "rec", Script([arrivals(0, 5), ServiceDown("gone")]))

    assert "open" == open_recording(tmp_path / "rec").manifest.state
    assert 5 == len(kept(tmp_path / "rec")[0])


class Talks:
    """Says something at each tick."""

    def process_tick(self, tick: MarketTick, history: Any) -> SignalResult:
        """Say BUY."""
        return SignalResult("BUY", 0.9, 1, tick.price)

    def snapshot(self) -> dict[str, Any]:
        """Nothing is remembered."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Nothing is remembered."""

    def get_required_history_length(self) -> int:
        """One tick, the current one."""
        return 1

    def supports_instrument(self, token: int) -> bool:
        """Any."""
        return True

    def get_strategy_name(self) -> str:
        """The name."""
        return "talks"


@pytest.mark.parametrize(("large", "bounded"), [(10, True), (10**6, False)])
def test_rows_wait_for_a_broker_that_is_away_only_while_they_are_few(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, large: int, bounded: bool
) -> None:
    """Checkpoints are put off where reports stay away; once many rows wait the loop does."""
    monkeypatch.setattr("parity.recording.runs._FLUSH_ROWS", large)
    run = tmp_path / "run"
    manifest = RunManifest(
        run_id="run", mode="paper", created_by="test", started="", seed=0, strategies=[],
        skipped=[], recording=RecordingReference(path="recording"), fingerprint={},
    )  # fmt: skip
    config = StrategyConfig(strategy_id="talks", strategy_type="talks")
    engine = Engine(TABLE, [ExecutorPlan(config, "paper", Talks)])
    writer = RunWriter(run, manifest)
    ledger = run / "deliveries" / "ledger.jsonl"
    delivery = Delivery(Late("run", report_s=60), ledger, "run", {"paper": "paper"})
    held: list[int] = []

    class Looks(Script):
        async def take(self, wait_s: float) -> Arrivals | None:
            held.append(writer.pending_rows)
            return await super().take(wait_s)

    async def scenario() -> Outcome:
        source = Looks([arrivals(n, n + 1) for n in range(60)])
        return await start(
            run / "recording", TABLE, source, created_by="test", stop=asyncio.Event(),
            strategies=Strategies(engine, writer, delivery),
            limits=Limits(checkpoint_ticks=1, settle_s=600),
        )  # fmt: skip

    with asyncio.Runner(loop_factory=LeapingLoop) as loop:
        assert loop.run(scenario()).settled
    assert engine.report().signals > 50
    assert bounded == (max(held) < 10)


def test_clock_never_goes_back() -> None:
    """The arrival clock is wall time that only rises."""
    clock = anchored_clock()
    times = [clock() for _ in range(1000)]

    assert times == sorted(times)


def test_clock_steps_are_told_once_each() -> None:
    """Beyond a second, ahead or behind, since the last; a process that stood still is none."""
    second = 10**9
    wall, monotonic = [100 * second], [5 * second]
    steps = ClockSteps(
        lambda: wall[0], lambda: monotonic[0] if len(monotonic) == 1 else monotonic.pop()
    )

    def note(wall_s: float, *monotonic_s: float) -> list[tuple[float, float]]:
        wall[0] = int(wall_s * second)
        monotonic[:] = [int(s * second) for s in reversed(monotonic_s)]
        return [
            (n.detail["stepped_ns"] / second, n.detail["apart_ns"] / second) for n in steps.notes()
        ]

    assert [] == note(160, 65)
    assert [] == note(161, 65)  # a second is not above a second
    assert [(1.5, 1.5)] == note(162.5, 66)
    assert [] == note(163.5, 67)
    assert [(-3600, -3598.5)] == note(163.5 - 3600, 67)
    assert [(3598.5, 0)] == note(163, 68)
    assert [] == note(164, 69, 99)  # thirty seconds between the two looks, before the wall's or
    assert [] == note(194, 69, 99)  # behind it
