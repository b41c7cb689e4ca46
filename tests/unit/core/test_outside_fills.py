"""Fills from outside: an event each, into the portfolio of the executor they are of, exactly."""

from collections.abc import Callable, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parity.core.engine import Engine
from parity.core.executor import ExecutorPlan
from parity.model.effects import ApprovedSignal, DroppedSignal, Effect, Failure, Fill
from parity.model.events import Control, EventBatch
from parity.model.instruments import Instrument, InstrumentTable
from parity.model.ticks import TickBatch
from parity.model.values import SignalResult, StrategyConfig
from parity.proof.replayer import state_bytes
from parity.testing.generators import (
    ONE,
    START_NS,
    TABLE,
    TWO,
    between,
    cut,
    dummy_batch,
    event_streams,
    partitions,
)

D = Decimal


class Buying:
    """Buys one at every tick."""

    def get_required_history_length(self) -> int:
        """Return 1."""
        return 1

    def supports_instrument(self, token: int) -> bool:
        """Take every instrument."""
        return True

    def get_strategy_name(self) -> str:
        """Return a name."""
        return "buying"

    def process_tick(self, tick: Any, history: Any) -> SignalResult | None:
        """Buy."""
        return SignalResult("BUY", 1.0, 1, tick.price)


class Shorting(Buying):
    """Sells one, then buys two back."""

    def __init__(self) -> None:
        self.calls = 0

    def process_tick(self, tick: Any, history: Any) -> SignalResult | None:
        """Sell, then buy."""
        self.calls += 1
        side, quantity = ("SELL", 1) if self.calls == 1 else ("BUY", 2)
        return SignalResult(side, 1.0, quantity, tick.price)


def engine_of(
    *,
    fills: str = "outside",
    made: Callable[[], Buying] = Buying,
    risk: dict[str, Any] | None = None,
    table: InstrumentTable = TABLE,
    **row: Any,
) -> Engine:
    """Return an engine of one strategy at zerodha, and one on paper."""
    parameters = {"risk": risk or {}, "paper": {"cash": 1_000}}
    plans = [
        ExecutorPlan(
            StrategyConfig(strategy_id="s", strategy_type="s", parameters=parameters, **row),
            broker,
            made,
            fills=how,
        )
        for broker, how in (("zerodha", fills), ("paper", "paper"))
    ]
    return Engine(table, plans)


def fill(seq: int, side: str = "BUY", quantity: Any = 2, price: Any = 100, **more: Any) -> Control:
    """Return a control that says what was filled."""
    detail = {
        "order_id": f"o{seq}", "strategy_id": "s", "broker": "zerodha", "instrument_token": ONE,
        "side": side, "quantity": quantity, "fill_price": price, "fees": "0.25",
        "ts_event": START_NS + seq, **more,
    }  # fmt: skip
    return Control(seq=seq, ts_recv=0, verb="fill", detail=detail)


def run(engine: Engine, *controls: Control) -> list[Effect]:
    """Process controls alone."""
    return engine.process(EventBatch(TickBatch.empty(engine.table), controls))


def of(engine: Engine, broker: str) -> Any:
    """Return the executor of a broker."""
    return next(e for e in engine.executors if e.key[1] == broker)


def test_it_changes_the_portfolio_exactly() -> None:
    """Cash, position, commission, realised profit; text, float and integer are taken exactly."""
    engine = engine_of()
    effects = run(
        engine,
        fill(1, quantity="0.3", price=100.1),
        fill(2, quantity=1, price="100.2", fees=None),
        fill(3, "SELL", quantity=1.1, price=101),
    )
    portfolio = of(engine, "zerodha").broker.portfolio
    spent = D("0.3") * D("100.1") + D("100.2") - D("1.1") * 101 + D("0.5")

    assert [("outside", f"o{n}") for n in (1, 2, 3)] == [(e.kind, e.signal_id) for e in effects]
    assert 1_000 - spent == portfolio.cash
    assert (D("0.2"), D("0.5")) == (portfolio.held(ONE), portfolio.commissions)
    assert D("0.3") * D("0.9") + D("0.8") * D("0.8") == portfolio.realised
    assert Fraction("100.2") == portfolio.average_price(ONE)
    assert START_NS + 3 == of(engine, "zerodha").clock
    assert {} == of(engine, "paper").broker.portfolio.positions


def test_its_executor_places_no_paper_orders() -> None:
    """Signals are approved, and what fills them is told from outside; paper goes on beside it."""
    engine = engine_of()
    effects = engine.process(dummy_batch(4))
    approved = {e.candidate.broker for e in effects if isinstance(e, ApprovedSignal)}
    filled = {e.broker for e in effects if isinstance(e, Fill)}

    assert ({"paper", "zerodha"}, {"paper"}) == (approved, filled)


def test_the_mode_chooses_who_fills() -> None:
    """In a backtest the same strategy at the same broker is filled on paper."""
    effects = engine_of(fills="paper").process(dummy_batch(4))

    assert {"paper", "zerodha"} == {e.broker for e in effects if isinstance(e, Fill)}


def test_validators_see_the_position() -> None:
    """A position from outside leaves no room; once it is sold there is some again."""
    engine = engine_of(max_position_size=D(2), instrument_tokens=(ONE,))
    run(engine, fill(1))
    dropped = engine.process(dummy_batch(1, seq=2))
    run(engine, fill(3, "SELL"))
    approved = engine.process(dummy_batch(1, seq=4))
    mine = [e for e in (*dropped, *approved) if getattr(e, "candidate", e).broker == "zerodha"]
    verdicts = [e for e in mine if isinstance(e, ApprovedSignal | DroppedSignal)]

    assert [DroppedSignal, ApprovedSignal] == [type(e) for e in verdicts]
    assert "max_position_size" == verdicts[0].reason  # type: ignore[union-attr] # seen to be a drop


def test_what_may_be_sold_is_the_business_of_the_outside() -> None:
    """A turn to short starts the guard there; on paper it is sure to be refused, and starts none.

    The configuration allows no short sales, and the fill comes between the two signals.
    """
    risk = {"position_guard_sec": 10}
    engine = engine_of(made=Shorting, risk=risk, instrument_tokens=(ONE,))
    effects = engine.process(dummy_batch(1))
    effects += run(engine, fill(2, "SELL", quantity=1))
    ns = START_NS + 1_000_000_000
    effects += engine.process(dummy_batch(1, seq=3, ts_event=ns))
    judged = [e for e in effects if isinstance(e, ApprovedSignal | DroppedSignal)]
    said = {
        broker: [getattr(e, "reason", "ok") for e in judged if e.candidate.broker == broker]
        for broker in ("zerodha", "paper")
    }

    assert {"zerodha": ["ok", "position_guard"], "paper": ["ok", "ok"]} == said


def test_losing_trades_count_with_their_fees() -> None:
    """A trade that brings nothing but fees has lost; the breaker opens."""
    engine = engine_of(risk={"loss_streak_max": 1}, instrument_tokens=(ONE,))
    run(engine, fill(1), fill(2, "SELL"))
    effects = engine.process(dummy_batch(1, seq=3))
    reasons = [e.reason for e in effects if isinstance(e, DroppedSignal)]

    assert ["circuit_breaker"] == reasons


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"instrument_token": 999}, "instrument_token"),
        ({"instrument_token": TWO}, "none of its instruments"),
        ({"instrument_token": "101"}, "instrument_token"),
        ({"side": "HOLD"}, "side"),
        ({"quantity": 0}, "quantity"),
        ({"quantity": "two"}, "quantity"),
        ({"price": float("nan")}, "fill_price"),
        ({"quantity": "1e-90"}, "quantity"),
        ({"fees": True}, "fees"),
        ({"ts_event": "2025-01-06"}, "ts_event"),
        ({"broker": "paper"}, "filled on paper"),
    ],
)
def test_what_cannot_be_taken_is_named(changed: dict[str, Any], word: str) -> None:
    """It is in the output and counted as an error, changes no money, and raises nothing."""
    engine = engine_of(instrument_tokens=(ONE,))
    (failure,) = run(engine, fill(1, **changed))

    assert isinstance(failure, Failure)
    assert word in failure.error
    assert 1 == sum(e.errors for e in engine.report().executors)
    assert D(1_000) == of(engine, "zerodha").broker.portfolio.cash


def test_flattening_closes_nothing_on_paper() -> None:
    """What a venue holds only the venue can close: the executor is paused, no paper order made."""
    engine = engine_of(instrument_tokens=(ONE,))
    run(engine, fill(1))
    detail = {"strategy_id": "s", "broker": "zerodha"}
    control = Control(seq=2, ts_recv=0, verb="strategy_flattened", detail=detail)
    run(engine, control)
    effects = engine.process(dummy_batch(2, seq=[3, 4]))

    assert "PAUSED" == of(engine, "zerodha").life.state.name
    assert not [e for e in effects if isinstance(e, Fill) and e.broker == "zerodha"]
    assert D(2) == of(engine, "zerodha").broker.portfolio.held(ONE)


def test_an_inverse_contract_is_refused() -> None:
    """Its profit is in the base coin, which this portfolio does not count."""
    table = InstrumentTable([Instrument(token=ONE, symbol="X", price_scale=2, kind="inverse")])
    (failure,) = run(engine_of(table=table), fill(1))

    assert isinstance(failure, Failure)
    assert "inverse" in failure.error


def test_nobodys_fill_is_counted() -> None:
    """A fill of a strategy that does not run changes nothing but a count."""
    engine = engine_of()

    assert [] == run(engine, fill(1, strategy_id="other"))
    assert {"fill": 1, "fill_unknown_strategy": 1} == engine.report().controls


def with_fills(events: EventBatch, drawn: Sequence[tuple[str, int]]) -> EventBatch:
    """Return the events with their controls made fills."""
    controls = [
        fill(c.seq, side, n, 100 + n, instrument_token=(ONE, TWO)[n % 2])
        for c, (side, n) in zip(events.controls, drawn, strict=False)
    ]
    return EventBatch(events.ticks, tuple(controls))


drawn_fills = st.lists(st.tuples(st.sampled_from(("BUY", "SELL")), st.integers(1, 5)), min_size=30)
GUARDED = {"position_guard_sec": 2, "loss_streak_max": 1, "max_exposure": 900}


@given(event_streams(min_ticks=60), drawn_fills, partitions(), st.data())
def test_batches_and_snapshots_change_nothing(
    events: EventBatch, drawn: Any, sizes: list[int], data: Any
) -> None:
    """Fills are barriers: any cutting, and any restart, decides the same."""
    events = with_fills(events, drawn)

    def outcome(batches: Sequence[EventBatch]) -> Any:
        engine = engine_of(risk=GUARDED)
        effects = [e for batch in batches for e in engine.process(batch)]
        return effects, engine.report(), state_bytes(engine.snapshot())

    whole = outcome([events])
    until = data.draw(st.integers(1, events.last_seq))
    first, second = engine_of(risk=GUARDED), engine_of(risk=GUARDED)
    effects = first.process(between(events, 1, until))
    second.restore(msgspec.msgpack.decode(state_bytes(first.snapshot())))
    effects += second.process(between(events, until + 1, events.last_seq))

    assert whole == outcome(list(cut(events, sizes)))
    assert whole == outcome(list(cut(events, [1] * 200)))
    assert whole == (effects, second.report(), state_bytes(second.snapshot()))


@given(event_streams(min_ticks=40), drawn_fills)
def test_the_other_executor_is_not_moved(events: EventBatch, drawn: Any) -> None:
    """Fills at zerodha change no byte of the same strategy on paper."""
    without = engine_of()
    without.process(EventBatch(events.ticks))
    among = engine_of()
    among.process(with_fills(events, drawn))

    assert state_bytes(of(without, "paper").snapshot()) == state_bytes(
        of(among, "paper").snapshot()
    )
