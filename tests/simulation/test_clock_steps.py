"""The machine's clock is set under a run: it is noted, and nothing that is decided moves."""

import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from faketime import PROGRAM, FakeTime
from waiting import until

from parity.live.clock import CLOCK_STEP
from parity.model.ticks import DUPLICATE, LATE, SKEWED
from parity.recording.reader import open_recording
from parity.testing.broker import Broker

pytestmark = pytest.mark.slow
Make = Callable[..., Any]
CHUNK = 500
HOUR_S = 3600
SECOND_NS = 10**9


def test_hours_forth_and_back_move_no_decision(
    make_bench: Make, mock: Broker, tmp_path: Path
) -> None:
    """An hour ahead, then one behind: the same flags and digests as without, and identical."""
    bench = make_bench(mock, 4 * CHUNK)
    # The last ticks are of now: an arrival clock that followed would take them for skewed.
    bench.records["ts_event"] += time.time_ns() - bench.records["ts_event"].max()
    faked = FakeTime(tmp_path / "faketime")
    began = time.time_ns()
    process = bench.start("paper", program=PROGRAM, **faked.environment)
    for steps, seconds in enumerate((0, HOUR_S, -HOUR_S, 0)):
        faked.set(seconds)
        until(partial(noted, bench, steps), bench.log.read_text)
        bench.produce(CHUNK)
        bench.await_ticks(process, CHUNK)
    assert 0 == bench.stop(process, signal.SIGTERM)[0], bench.log.read_text()
    ended = time.time_ns()
    undisturbed = bench._replace(folder=tmp_path / "undisturbed")
    undisturbed.finish("paper")

    steps = [c.detail for c in bench.controls()]
    assert {CLOCK_STEP: 3} == bench.check_recording(bench.folder / "recording")
    assert [HOUR_S, -2 * HOUR_S, HOUR_S] == [round(d["stepped_ns"] / SECOND_NS) for d in steps]
    assert [HOUR_S, -HOUR_S, 0] == [round(d["apart_ns"] / SECOND_NS) for d in steps]
    here, there = (ticks(one.folder / "recording") for one in (bench, undisturbed))
    verdicts = DUPLICATE | SKEWED | LATE  # CATCH_UP says how long a tick lay at the broker
    assert np.array_equal(there["flags"] & verdicts, here["flags"] & verdicts)
    assert (np.diff(here["ts_recv"]) >= 0).all()
    assert began < here["ts_recv"][0]
    assert here["ts_recv"][-1] < ended
    assert undisturbed.digests() == bench.digests()
    assert bench.check_signals() == bench.verify()["covered"]["deliveries"] > 0


def noted(bench: Any, steps: int) -> bool:
    """Return whether the log tells of so many steps."""
    return bool(bench.log.exists() and bench.said(f'"event": "{CLOCK_STEP}"') == steps)


def ticks(folder: Path) -> np.ndarray:
    """Return the ticks of a recording."""
    with open_recording(folder) as recording:
        return np.concatenate([batch.ticks.to_records() for batch in recording.batches()])
