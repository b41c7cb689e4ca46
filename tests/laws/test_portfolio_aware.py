"""Processors that see their portfolio: what they decide depends on events, and on nothing else."""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parity.core.engine import Engine
from parity.core.executor import ExecutorPlan
from parity.model.effects import ApprovedSignal, DroppedSignal, Failure, Fill, Transition
from parity.model.events import EventBatch
from parity.model.values import SignalResult, StrategyConfig
from parity.proof.replayer import state_bytes
from parity.recording.runs import candidate_row
from parity.settings.pyfile import load_python_file
from parity.testing.generators import (
    ONE,
    TABLE,
    TWO,
    between,
    cut,
    dummy_batch,
    event_streams,
    partitions,
)

D = Decimal


class Turning:
    """Buys where it holds nothing, sells what it holds after a rise; fails now and then."""

    def __init__(self, length: int = 2, fails: int = 0) -> None:
        self.length = length
        self.fails = fails
        self.calls = 0
        self.seen: list[str] = []

    def get_required_history_length(self) -> int:
        """Return its length."""
        return self.length

    def supports_instrument(self, token: int) -> bool:
        """Take every instrument."""
        return True

    def get_strategy_name(self) -> str:
        """Return a name."""
        return "turning"

    def process_tick(
        self, tick: Any, history: Any, portfolio: Any, rng: Any
    ) -> Iterator[SignalResult]:
        """Yield none, one or two signals, by what is held and what it has cost."""
        self.calls += 1
        held = portfolio.position(tick.instrument_token)
        average = portfolio.average_price(tick.instrument_token)
        waits = portfolio.projected(tick.instrument_token)
        whole = f"{portfolio.cash} {dict(portfolio.positions)} {average} {waits}"
        self.seen = [*self.seen[-1:], whole]
        how = {"cash": str(portfolio.cash), "stop_loss_pct": 0.5, "n": self.calls}
        if not held:
            yield SignalResult("BUY", rng.uniform(), 1, tick.price, "", how)
        if self.fails and not self.calls % self.fails:
            raise ValueError("now and then")
        if held and tick.last_price > average:
            yield SignalResult("SELL", 1.0, held, tick.price, "", how)
            yield SignalResult(
                "BUY", 0.5, 2, tick.price, "", {"order_type": "limit", "limit_price": 99}
            )


class Keeping(Turning):
    """The same with a snapshot, so that an error costs it one tick only."""

    def snapshot(self) -> dict[str, Any]:
        """Return its state."""
        return {"calls": self.calls, "seen": self.seen}

    def restore(self, state: dict[str, Any]) -> None:
        """Take it back."""
        self.calls, self.seen = state["calls"], list(state["seen"])


MAKERS = {
    "plain": lambda: Turning(),
    "long": lambda: Turning(length=5),
    "failing": lambda: Turning(length=3, fails=4),
    "kept": lambda: Keeping(fails=3),
}


def engine_of(**risk: Any) -> Engine:
    """Return an engine of several such processors, on trades and on quotes."""
    plans = []
    for name, build in MAKERS.items():
        for on in ("trades", "quotes"):
            config = StrategyConfig(
                strategy_id=f"{name}_{on}",
                strategy_type="t",
                on=on,
                parameters={
                    "paper": {"cash": 2_000},
                    "risk": risk,
                    "errors": {"max": 2, "retry_sec": 3},
                },
                instrument_tokens=(ONE, TWO) if name != "long" else (ONE,),
            )
            plans.append(ExecutorPlan(config, "paper", build))
    return Engine(TABLE, plans, seed=3)


def run(batches: Sequence[EventBatch]) -> Any:
    """Return the effects, the report and the state."""
    engine = engine_of(cooldown_sec=1)
    effects = [e for batch in batches for e in engine.process(batch)]
    return effects, engine.report(), state_bytes(engine.snapshot())


@given(event_streams(min_ticks=30), partitions(), st.data())
def test_batches_and_snapshots_change_nothing(
    events: EventBatch, sizes: list[int], data: Any
) -> None:
    """Any cutting, and a restart at any event, decides the same, errors and their ends included."""
    whole = run([events])
    until = data.draw(st.integers(1, events.last_seq))
    first, second = engine_of(cooldown_sec=1), engine_of(cooldown_sec=1)
    effects = first.process(between(events, 1, until))
    second.restore(msgspec.msgpack.decode(state_bytes(first.snapshot())))
    effects += second.process(between(events, until + 1, events.last_seq))

    assert whole == run(list(cut(events, sizes)))
    assert whole == run(list(cut(events, [1] * 200)))
    assert whole == (effects, second.report(), state_bytes(second.snapshot()))


@given(event_streams(min_ticks=30))
def test_what_they_propose_is_no_candidate(events: EventBatch) -> None:
    """It enters the decision digest alone; signals are numbered from 1 without a gap."""
    effects, report, _ = run([events])
    said = [e.candidate for e in effects if isinstance(e, ApprovedSignal | DroppedSignal)]
    numbers = [e.signal_no for e in effects if isinstance(e, ApprovedSignal)]

    assert {0} == {e.candidates for e in report.executors}
    assert all(one.proposed and candidate_row(one)["record"] == b"" for one in said)
    assert list(range(1, len(numbers) + 1)) == numbers


def test_it_sees_what_the_tick_has_filled() -> None:
    """At a tick the fills come first, then the processor, then its order waits for the next."""
    engine = engine_of()
    effects = engine.process(
        dummy_batch(6, price_int=[100_00, 100_00, 100_00, 102_00, 103_00, 90_00])
    )
    mine = [e for e in effects if getattr(e, "candidate", e).strategy_id == "plain_trades"]
    story = [
        (getattr(e, "candidate", e).seq, getattr(e, "reason", "") or getattr(e, "kind", "signal"))
        for e in mine
        if not isinstance(e, Transition)
    ]

    assert [
        (2, "signal"),  # nothing is held: BUY
        (3, "order"),  # filled; at its price there is nothing to gain
        (4, "signal"), (4, "signal"),  # above the average: SELL what is held, and a limit order
        (5, "order"), (5, "signal"),  # flat again: BUY
        (6, "order"), (6, "order"),  # the limit order of seq 4 first, which is the older one
    ] == story  # fmt: skip


def test_an_error_costs_the_tick_or_the_history() -> None:
    """With a snapshot the next tick is shown as if nothing had been; without, it warms up anew."""
    engine = engine_of()
    effects = engine.process(dummy_batch(12))
    failed = {
        name: [
            e.seq for e in effects if isinstance(e, Failure) and e.strategy_id == f"{name}_trades"
        ]
        for name in ("kept", "failing")
    }
    states = [
        e.now for e in effects if isinstance(e, Transition) and e.strategy_id == "failing_trades"
    ]

    assert [4, 5, 6] == failed["kept"][
        :3
    ]  # its count of calls is rolled back, and so it fails again
    assert [6, 12] == failed["failing"]
    assert ["WARMUP", "ACTIVE", "WARMUP", "ACTIVE", "WARMUP"] == states


def test_a_portfolio_cannot_be_changed() -> None:
    """The view hands out numbers and a read-only mapping."""
    engine = engine_of()
    view = engine.executors[0]._aware._portfolio  # type: ignore[union-attr] # they all are aware

    with pytest.raises(AttributeError):
        view.cash = D(0)  # type: ignore[misc] # what is shown not to work
    with pytest.raises(TypeError):
        view.positions[ONE] = D(1)  # type: ignore[index] # likewise


OLDER = '''
import parity as pt


class Reverting:
    """As the older contract has it: one method, signals yielded."""

    def __init__(self, *, drop=0.01):
        self.drop = drop
        self.last = {}

    def on_market_data(self, data, portfolio):
        before = self.last.get(str(data.instrument_token))
        self.last[str(data.instrument_token)] = data.price
        held = portfolio.positions.get(data.instrument_token, 0)
        if before and data.price < before * (1 - self.drop) and portfolio.cash > 0 and not held:
            yield pt.SignalResult("BUY", 0.7, 2, data.price)
        if held and data.price > before:
            yield pt.SignalResult("SELL", 0.7, held, data.price)
'''


def test_code_of_the_older_contract_runs(tmp_path: Path) -> None:
    """A class with on_market_data(data, portfolio) is found in a file, and runs."""
    path = tmp_path / "older.py"
    path.write_text(OLDER)
    (found,) = load_python_file(path).strategies
    config = StrategyConfig(
        strategy_id="s", strategy_type="s", parameters={"paper": {"slippage": 0}}
    )
    engine = Engine(TABLE, [ExecutorPlan(config, "paper", lambda: found.create({"drop": 0.02}))])
    effects = engine.process(dummy_batch(6, price_int=[100_00, 90_00, 90_00, 95_00, 96_00, 97_00]))
    fills = [(e.seq, e.side, e.quantity) for e in effects if isinstance(e, Fill)]

    assert "Reverting" == found.name
    assert [(3, 1, D(2)), (5, -1, D(2))] == fills
    assert state_bytes(engine.snapshot())
