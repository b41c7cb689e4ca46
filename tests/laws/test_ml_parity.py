"""An ML strategy keeps the contract: batches, restarts and processes never change its bytes."""

import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parity.core.engine import Engine, RunReport
from parity.core.executor import ExecutorPlan
from parity.live.inference import load_model, shipped_models
from parity.model.events import EventBatch
from parity.model.ticks import TickBatch
from parity.model.values import StrategyConfig
from parity.sources.synthetic import TABLE, generate
from parity.strategies.ml.ml_momentum import MLMomentum, create

ROOT = Path(__file__).resolve().parents[2]
TICKS = 4_000


class NaNAt:
    """The shipped model, which now and then gives no number."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.sha256 = inner.sha256

    def predict(self, features: Any) -> Any:
        """Return the odds, or NaN where the last price ends in a certain way."""
        odds = self.inner.predict(features)
        return odds * float("nan") if int(float(features[1]) * 100) % 10 == 3 else odds


@cache
def ticks() -> TickBatch:
    """Return synthetic trades of two instruments."""
    return TickBatch.from_records(generate(ticks=TICKS)[1], TABLE)


def engine(*, broken: bool = False) -> Engine:
    """Return an engine of one ML strategy on both instruments."""
    config = StrategyConfig(
        strategy_id="ml",
        strategy_type="ml_momentum",
        parameters={"min_conf": 0.4},
        instrument_tokens=tuple(i.token for i in TABLE),
    )

    def build() -> MLMomentum:
        processor = create(config.parameters)
        model = load_model(processor.model_path, root=shipped_models())
        processor.use_model(NaNAt(model) if broken else model)
        return processor

    return Engine(TABLE, [ExecutorPlan(config, "paper", build)])


def run(sizes: list[int], made: Engine | None = None, start: int = 0) -> Engine:
    """Feed all ticks from `start` in batches of these sizes, over and over."""
    made = made or engine()
    turn = 0
    while start < TICKS:
        end = min(TICKS, start + sizes[turn % len(sizes)])
        made.process(EventBatch(ticks().slice(start, end)))
        start, turn = end, turn + 1
    return made


@cache
def whole() -> RunReport:
    """Return the report of one run in one batch."""
    return run([TICKS]).report()


def test_the_run_is_worth_comparing() -> None:
    """The strategy signals on both sides, so that equal digests mean something."""
    (ml,) = whole().executors

    assert ml.candidates >= 20
    assert 0 == ml.errors


@given(st.lists(st.integers(1, 900), min_size=1, max_size=5))
@settings(max_examples=8)
def test_batch_sizes_change_no_byte(sizes: list[int]) -> None:
    """Whatever the batches, candidates and decisions have the same digests."""
    assert whole() == run(sizes).report()


@given(st.integers(0, TICKS))
@settings(max_examples=8)
def test_a_restart_from_a_checkpoint_changes_no_byte(at: int) -> None:
    """Snapshot anywhere, restore in a new engine, go on: the same run."""
    first = engine()
    if at:
        first.process(EventBatch(ticks().slice(0, at)))
    state = msgspec.msgpack.decode(msgspec.msgpack.encode(first.snapshot()))
    second = engine()
    second.restore(state)

    assert whole() == run([500], second, at).report()


def test_a_failing_inference_is_silent_in_every_batch_size() -> None:
    """NaN from the model is no executor error, changes candidates, and parity stands."""
    broken = run([TICKS], engine(broken=True)).report()
    (ml,) = broken.executors

    assert (0, "ACTIVE") == (ml.errors, ml.state)
    assert 0 < ml.candidates < whole().executors[0].candidates
    assert broken == run([1, 77], engine(broken=True)).report()


@pytest.mark.slow
def test_another_process_gives_the_same_digests() -> None:
    """Another process with another hash seed decides the same, bit for bit."""
    code = (
        "import sys; sys.path.insert(0, 'tests/laws')\n"
        "import test_ml_parity as t; print(t.whole().decision_digest)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=os.environ | {"PYTHONHASHSEED": "4242"},
        check=True,
        capture_output=True,
        text=True,
    )

    assert whole().decision_digest == done.stdout.strip()
