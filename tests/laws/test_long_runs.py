"""What is kept of the past is cut back from time to time: thousands of ticks in, no cut shows.

The general laws draw short streams; histories and their columns are cut after some hundred ticks of
an instrument, which every shipped strategy passes here.
"""

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from parity.compose.plans import prepare
from parity.core.engine import Engine, RunReport
from parity.model.events import EventBatch
from parity.recording.reader import open_recording
from parity.settings.strategies import load_strategies
from parity.testing.generators import cut

ROOT = Path(__file__).resolve().parents[2]
TICKS = 5_000


@cache
def market() -> EventBatch:
    """Return the first ticks of the demo recording, which has two instruments."""
    with open_recording(ROOT / "recordings" / "demo") as recording:
        return next(iter(recording.batches(batch_rows=TICKS)))


def report_of(sizes: list[int]) -> RunReport:
    """Return what every shipped strategy came to, the ticks in batches of these sizes."""
    specs = load_strategies([ROOT / "strategies" / "configs"])
    events = market()
    engine = Engine(events.ticks.table, prepare(specs).plans)
    for batch in cut(events, sizes):
        engine.process(batch)
    return engine.report()


@pytest.mark.slow
@pytest.mark.parametrize("most", [1, 3, 40])
def test_small_batches_decide_as_one_does(most: int) -> None:
    """Sizes up to `most`, drawn once; the report has every strategy's digests and counts."""
    drawn = np.random.Philox(key=most).random_raw(TICKS) % np.uint64(most) + np.uint64(1)
    whole, small = report_of([]), report_of(drawn.tolist())

    pairs = zip(whole.executors, small.executors, strict=True)
    assert [] == [one.strategy_id for one, other in pairs if one != other]
    assert whole == small
    assert sum(e.signals > 0 for e in whole.executors) > 8
