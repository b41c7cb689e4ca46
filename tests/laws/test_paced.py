"""The law of pace: a recording as a live source decides what a backtest of it decides.

Through the real thing: the paper command's loop, its journal, checkpoints and publisher, at any
pace, with strategies that use every feature. Streams are generated; duplicates and skewed ticks,
which no strategy is ever shown, stay behind, and verdicts are made anew.
"""

import tempfile
from functools import cache
from pathlib import Path

import pytest
from hypothesis import find, given, settings
from hypothesis import strategies as st
from reaching import GENERATED

from parity.compose.feeds import Feed
from parity.compose.modes import backtest, paper
from parity.compose.plans import prepare
from parity.compose.proofs import verify
from parity.core.engine import Engine
from parity.model.events import EventBatch
from parity.model.values import StrategyConfig
from parity.recording.runs import RunFolder
from parity.recording.writer import RecordingWriter
from parity.settings.drafts import StrategySpec
from parity.settings.strategies import load_strategies, spec_of
from parity.testing.generators import TABLE, event_streams

TERMS = {"risk": {"cooldown_sec": 2}, "paper": {"allow_short": True, "order_ttl_sec": 3}}
RULE = {"lookback_periods": 2, "threshold": 0.0, "position_size": 1, **TERMS}
USERS = '''
"""Bars, timers, orders with exits and errors, as a user writes them."""
from decimal import Decimal
from parity.model.bars import Bars
from parity.model.timers import Every
from parity.model.values import SignalResult

class Barring:
    bars = Bars(seconds=2)
    timers = [Every(3)]
    calls = 0
    def get_required_history_length(self): return 2
    def supports_instrument(self, token): return True
    def get_strategy_name(self): return "barring"
    def process_tick(self, tick, history, rng):
        self.calls += 1
        if tick.price_int % 11 == 0:
            raise ArithmeticError("eleven")
        if self.calls % 3 == 0:
            return None
        level = tick.last_price + Decimal(self.calls % 5 - 2) / 10
        how = {"order_type": "limit", "limit_price": level, "n": self.calls,
               "stop_loss_pct": 0.1, "take_profit_pct": 0.1}
        return SignalResult("BUY" if rng.uniform() < 0.5 else "SELL", 0.5, 1, tick.price, "", how)
    def process_bar(self, bar, history):
        return SignalResult("SELL", 1.0, 1, bar.close, "", {"high": bar.high, "n": self.calls})
    def on_timer(self, timer, history, rng):
        return SignalResult("BUY", rng.uniform(), 1, history[-1].price, "", {"at": timer.due_ns})
    def snapshot(self): return {"calls": self.calls}
    def restore(self, state): self.calls = state["calls"]

class Holding:
    calls = 0
    bars = Bars(seconds=5)
    timers = [Every(3)]
    def get_required_history_length(self): return 1
    def supports_instrument(self, token): return True
    def get_strategy_name(self): return "holding"
    def process_tick(self, tick, history, portfolio):
        held = portfolio.position(tick.instrument_token)
        return SignalResult("SELL" if held > 0 else "BUY", 1.0, abs(held) or 1, tick.price)
    def process_bar(self, bar, history, portfolio):
        return SignalResult("BUY", 0.5, 1, bar.close, "", {"cash": str(portfolio.cash)})
    def on_timer(self, timer, history, portfolio):
        return SignalResult("SELL", 0.5, 1, history[-1].price, "", {"cash": str(portfolio.cash)})
'''


@cache
def specs() -> tuple[StrategySpec, ...]:
    """Both tiers, a model, trades and quotes, and a user's file."""
    made = [
        spec_of(StrategyConfig(strategy_id=name, strategy_type=kind, on=on, parameters=parameters))
        for name, kind, on, parameters in (
            ("rule", "momentum", "trades", RULE),
            ("kernel", "momentum_kernel", "trades", RULE),
            ("quotes", "momentum", "quotes", RULE),
            ("ml", "ml_momentum", "trades", {"lookback_periods": 3, "min_conf": 0.1, **TERMS}),
        )
    ]
    return tuple(made)


@pytest.fixture(scope="module")
def users(tmp_path_factory: pytest.TempPathFactory) -> tuple[StrategySpec, ...]:
    """The strategies of a user's file."""
    folder = tmp_path_factory.mktemp("users")
    (folder / "mine.py").write_text(USERS)
    (folder / "mine.yaml").write_text(
        "strategies:\n"
        + "".join(
            f"  - {{strategy_name: {name}, strategy_type: 'mine.py:{name.title()}', "
            "instruments: all, parameters: {paper: {allow_short: true}}}\n"
            for name in ("barring", "holding")
        )
    )
    return tuple(load_strategies([folder / "mine.yaml", folder / "mine.py"]))


def outcome(run: Path) -> dict[str, tuple[object, ...]]:
    """Return what a run came to, by strategy."""
    report = RunFolder(run).manifest.report
    assert report is not None
    return {
        e.strategy_id: (
            e.candidate_digest,
            e.decision_digest,
            e.signals,
            e.drops,
            e.fills,
            e.errors,
        )
        for e in report.executors
    }


@pytest.mark.parametrize("name", ["rule", "kernel", "quotes", "ml", "barring", "holding"])
def test_the_streams_are_worth_it(users: tuple[StrategySpec, ...], name: str) -> None:
    """Each speaks and is filled in one of them; the user's bars close and its errors happen."""
    plans = prepare([s for s in (*specs(), *users) if s.config.strategy_id == name]).plans

    def loud(events: EventBatch) -> bool:
        engine = Engine(TABLE, plans, seed=5)
        engine.process(events)
        (one,) = engine.report().executors
        barred = one.errors and one.bars
        return bool(one.signals and one.fills and (barred or name != "barring"))

    assert find(event_streams(), loud, settings=GENERATED)


@settings(max_examples=max(12, settings().max_examples // 8))  # each is three runs with a disk
@given(
    event_streams(),
    st.sampled_from((None, 3_000.0, 50_000.0)),
    st.sampled_from((7, 1_000)),
)
def test_a_paced_run_decides_what_a_backtest_decides(
    users: tuple[StrategySpec, ...], events: EventBatch, pace: float | None, checkpoint: int
) -> None:
    """Candidates and decisions, digest by digest; and the run proves itself."""
    wanted = [*specs(), *users]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        with RecordingWriter(folder / "rec", TABLE, order="arrival", created_by="test") as writer:
            writer.append(events.ticks, events.controls)
        backtest(folder / "rec", wanted, out=folder / "whole", seed=5)
        feed = Feed(recording=folder / "rec", pace=pace)
        options = {"seed": 5, "checkpoint_ticks": checkpoint, "durability": "os"}
        paper(folder / "paced", wanted, feed, table=TABLE, **options)

        assert outcome(folder / "whole") == outcome(folder / "paced")
        assert verify(folder / "paced").verdict == "identical"
