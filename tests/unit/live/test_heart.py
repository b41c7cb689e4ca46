"""Heartbeats of a live run: sent when something is due and the source is silent, and journaled."""

import asyncio
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from brokerless import Brokerless

from parity.core.engine import Engine
from parity.core.executor import ExecutorPlan
from parity.live import runner
from parity.live.delivery import Delivery
from parity.live.heart import Heart
from parity.live.runner import Strategies
from parity.live.start import start
from parity.model import ticks as flag
from parity.model.bars import Bar, Bars
from parity.model.timers import Every, Timer
from parity.model.values import SignalResult, StrategyConfig
from parity.publishers.file import FilePublisher
from parity.recording.reader import open_recording
from parity.recording.runs import RecordingReference, RunManifest, RunWriter
from parity.sources.arrivals import Arrivals
from parity.testing.generators import SECOND_NS, START_NS, TABLE, dummy_records


@pytest.mark.parametrize(
    ("passed_ns", "due_ns", "expected"),
    [
        (SECOND_NS - 1, -SECOND_NS, None),  # not silent long enough
        (SECOND_NS, -SECOND_NS, -SECOND_NS),  # a second less the margin of two
        (SECOND_NS, -SECOND_NS + 1, None),  # nothing due by then
        (10 * SECOND_NS, 8 * SECOND_NS, 8 * SECOND_NS),
        (10 * SECOND_NS, None, None),
    ],
)
def test_a_heartbeat_is_what_has_passed_less_a_margin(
    passed_ns: int, due_ns: int | None, expected: int | None
) -> None:
    """Only after a second of silence, and only where it makes something due."""
    heart = Heart(TABLE)
    heart.took(dummy_records(1), 77)
    due = None if due_ns is None else START_NS + due_ns

    assert (None if expected is None else START_NS + expected) == heart.beat(77 + passed_ns, due)


def test_skewed_and_untimed_ticks_tell_no_time() -> None:
    """The largest time is of ticks that move clocks; any tick ends a silence."""
    heart = Heart(TABLE)

    assert heart.beat(10**12, 0) is None
    late = START_NS + 3600 * SECOND_NS
    heart.took(dummy_records(1, ts_event=late, flags=flag.TRADE | flag.SKEWED), 0)
    heart.took(dummy_records(1, ts_event=late, flags=flag.TRADE | flag.NO_VENUE_TIME), 0)
    assert heart.beat(10**12, 0) is None
    heart.took(dummy_records(1), 0)
    heart.took(dummy_records(1, ts_event=START_NS - 5), 9 * SECOND_NS)
    assert heart.beat(9 * SECOND_NS + 1, 0) is None
    assert START_NS + 8 * SECOND_NS == heart.beat(10 * SECOND_NS, 0)


class Closes:
    """Says BUY at every bar of two seconds."""

    def __init__(self) -> None:
        self.bars = Bars(seconds=2)

    def get_required_history_length(self) -> int:
        """Return 1."""
        return 1

    def supports_instrument(self, token: int) -> bool:
        """Take every instrument."""
        return True

    def get_strategy_name(self) -> str:
        """Return a name."""
        return "closes"

    def process_tick(self, tick: Any, history: Any) -> SignalResult | None:
        """Say nothing."""
        return None

    def process_bar(self, bar: Bar, history: Any) -> SignalResult:
        """Say BUY."""
        return SignalResult("BUY", 0.5, 1, bar.close)


class Clocked(Closes):
    """Says it at a timer of two seconds instead."""

    def __init__(self) -> None:
        self.timers = [Every(2)]

    process_bar = None  # type: ignore[assignment] # it has no bars

    def on_timer(self, timer: Timer, history: Any) -> SignalResult:
        """Say BUY."""
        return SignalResult("BUY", 0.5, 1, history[-1].price)


class Silent(Brokerless):
    """A source with one tick, and then silence for a while."""

    def __init__(self, turns: int) -> None:
        super().__init__(("silent", 0))
        self.turns = turns
        self.taken = 0

    async def take(self, wait_s: float) -> Arrivals | None:
        """Return the tick, then nothing, then the end."""
        self.taken += 1
        if self.taken > self.turns:
            return None
        ticks = dummy_records(1, stream=0) if self.taken == 1 else dummy_records(0)
        return Arrivals(ticks, [], {0: 1})


def plans(kind: type[Closes]) -> list[ExecutorPlan]:
    """Return a strategy on bars, or on timers."""
    config = StrategyConfig(strategy_id="closes", strategy_type="closes")
    return [ExecutorPlan(config, "paper", kind)]


@pytest.mark.parametrize(("kind", "turns", "sent"), [(Closes, 60, 1), (Clocked, 16, 2)])
def test_a_silent_source_lets_deadlines_pass(
    kind: type[Closes], turns: int, sent: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A heartbeat is journaled when a bar's end or a timer has passed; a replay says the same."""
    clock = count(START_NS, SECOND_NS // 4)
    monkeypatch.setattr(runner, "anchored_clock", lambda: lambda: next(clock))
    run, engine = tmp_path / "run", Engine(TABLE, plans(kind))
    manifest = RunManifest(
        run_id="run", mode="paper", created_by="test", started="", seed=0, strategies=[],
        skipped=[], recording=RecordingReference(path="recording"), fingerprint={},
    )  # fmt: skip
    writer, publisher = RunWriter(run, manifest), FilePublisher(run / "published", "run")
    delivery = Delivery(publisher, run / "deliveries" / "ledger.jsonl", "run", {"paper": "paper"})
    strategies = Strategies(engine, writer, delivery, Heart(TABLE))

    async def scenario() -> None:
        stop = asyncio.Event()
        await start(
            run / "recording",
            TABLE,
            Silent(turns),
            created_by="t",
            stop=stop,
            strategies=strategies,
        )

    asyncio.run(scenario())
    again = Engine(TABLE, plans(kind))
    with open_recording(run / "recording") as recording:
        beats = [c for c in recording.controls() if c.verb == "heartbeat"]
        for batch in recording.batches():
            again.process(batch)

    assert [2, 3][:sent] == [c.seq for c in beats]
    for number, beat in enumerate(beats, 1):
        assert START_NS + 2 * number * SECOND_NS <= beat.detail["ts_event"]
    assert sent == engine.report().signals
    assert engine.report() == again.report()
    assert np.all([e.overtaken == 0 for e in engine.report().executors])
