"""The paper broker agrees with one that looks at every tick, wherever batches end; money is exact.

Every order type and time in force, exits, expiries and refusals, over generated streams of trades
and quotes. Larger numbers of examples: `make laws`.
"""

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from plain_broker import PlainBroker, Said
from reaching import unreached

from parity.core.engine import Engine
from parity.core.executor import ExecutorPlan
from parity.model import ticks as flag
from parity.model.effects import Effect, Fill
from parity.model.events import EventBatch
from parity.model.ticks import TickBatch
from parity.model.values import SignalResult, StrategyConfig
from parity.proof.replayer import state_bytes
from parity.testing.generators import (
    ONE,
    SECOND_NS,
    TABLE,
    TWO,
    between,
    cut,
    event_streams,
    partitions,
)

CASH = 3_000
TO_MIDNIGHT_NS = (14 * 3600 + 59 * 60 + 40) * SECOND_NS  # so that streams pass one
Script = dict[int, tuple[str, Decimal, dict[str, Any]]]


class Ordering:
    """Says what a script holds for the n-th tick it sees, prices measured from the tick's own."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.at = 0

    def get_required_history_length(self) -> int:
        """Return 1."""
        return 1

    def supports_instrument(self, token: int) -> bool:
        """Take every instrument."""
        return True

    def get_strategy_name(self) -> str:
        """Return a name."""
        return "ordering"

    def snapshot(self) -> dict[str, Any]:
        """Return how far it is."""
        return {"at": self.at}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self.at = state["at"]

    def process_tick(self, tick: Any, history: Any) -> SignalResult | None:
        """Read the script."""
        self.at += 1
        said = self.script.get(self.at)
        if said is None:
            return None
        metadata = placed(said[2], tick.last_price)
        return SignalResult(said[0], 0.5, said[1], tick.price, "", metadata)


def placed(how: dict[str, Any], price: Decimal) -> dict[str, Any]:
    """Return an order's metadata with its prices measured from a tick's."""
    moved = {k: price + v for k, v in how.items() if k.endswith("_price")}
    return {**how, **moved}


offsets = st.integers(-30, 30).map(lambda n: Decimal(n) / 50)
percent = st.sampled_from((0.05, Decimal("0.1"), 0.3, 2))


@st.composite
def instructions(draw: st.DrawFn) -> dict[str, Any]:
    """Draw an order's metadata; prices are offsets from the tick's."""
    how: dict[str, Any] = {
        "order_type": draw(st.sampled_from(("market", "limit", "stop", "stop_limit")))
    }
    if "limit" in how["order_type"]:
        how["limit_price"] = draw(offsets)
    if "stop" in how["order_type"]:
        how["stop_price"] = draw(offsets)
    if draw(st.booleans()):
        how["tif"] = draw(st.sampled_from(("GTC", "DAY", "IOC", "FOK")))
    for key in ("take_profit_pct", "stop_loss_pct"):
        if draw(st.booleans()):
            how[key] = draw(percent)
    return how


quantities = st.decimals("0.001", "8", places=3, allow_nan=False, allow_infinity=False)
scripts = st.dictionaries(
    st.integers(1, 70),
    st.tuples(st.sampled_from(("BUY", "SELL")), quantities, instructions()),
    max_size=40,
)
terms = st.fixed_dictionaries(
    {"allow_short": st.booleans(), "order_ttl_sec": st.sampled_from((0, 0, 1.5, 60))}
)


def shifted(events: EventBatch) -> EventBatch:
    """Return the events later in the day, so that midnight comes early in them."""
    records = events.ticks.to_records()
    records["ts_event"] += TO_MIDNIGHT_NS
    return EventBatch(TickBatch.from_records(records, TABLE), events.controls)


def engine_of(script: Script, paper: dict[str, Any]) -> Engine:
    """Return an engine of one scripted strategy."""
    config = StrategyConfig(
        strategy_id="s", strategy_type="s", parameters={"paper": {"cash": CASH, **paper}}
    )
    return Engine(TABLE, [ExecutorPlan(config, "paper", lambda: Ordering(script))])


def run(
    batches: Sequence[EventBatch], script: Script, paper: dict[str, Any]
) -> tuple[list[Effect], Engine]:
    """Return the effects and the engine."""
    engine = engine_of(script, paper)
    return [e for batch in batches for e in engine.process(batch)], engine


def plain(events: EventBatch, script: Script, paper: dict[str, Any]) -> PlainBroker:
    """Walk the events tick by tick through the other broker."""
    broker = PlainBroker(CASH, paper["allow_short"], round(paper["order_ttl_sec"] * SECOND_NS))
    seen = 0
    for row in events.ticks.to_records():
        bits = int(row["flags"])
        if bits & flag.UNDELIVERED:
            continue
        scale = int(TABLE.by_token(int(row["instrument_token"])).price_scale)
        shown = bool(bits & flag.TRADE_LIKE) and not bits & flag.NO_PRICE
        broker.tick(row, scale)
        if shown:
            seen += 1
            if seen in script:
                side, quantity, how = script[seen]
                price = Decimal(int(row["price_int"])).scaleb(-scale)
                token, sign = int(row["instrument_token"]), 1 if side == "BUY" else -1
                broker.order(token, sign, Fraction(quantity), placed(how, price))
    return broker


def said(effects: Sequence[Effect]) -> list[Said]:
    """Return what became of the orders, as the other broker says it."""
    return [
        Said(
            fill.ts_event,
            fill.ordinal >= 0,
            fill.instrument_token,
            fill.side,
            Fraction(fill.price),
            Fraction(fill.quantity),
            Fraction(fill.commission),
            fill.reason or fill.kind,
        )
        for fill in effects
        if isinstance(fill, Fill)
    ]


@given(event_streams(), scripts, terms, partitions())
def test_it_agrees_with_a_broker_that_looks_at_every_tick(
    events: EventBatch, script: Script, paper: dict[str, Any], sizes: list[int]
) -> None:
    """Fills, exits, refusals and expiries, cash, positions and profit are those of the other."""
    events = shifted(events)
    other = plain(events, script, paper)
    effects, engine = run(list(cut(events, sizes)), script, paper)
    portfolio = engine.executors[0].broker.portfolio

    assert other.said == said(effects)
    assert other.cash == Fraction(portfolio.cash)
    assert other.realised == Fraction(portfolio.realised)
    assert other.commissions == Fraction(portfolio.commissions)
    for token in (ONE, TWO):
        assert other.held(token) == Fraction(portfolio.held(token))
        cost = sum((abs(q) * p for q, p in other.lots.get(token, [])), Fraction(0))
        average = portfolio.average_price(token)
        assert cost == (0 if average is None else average * abs(other.held(token)))


@given(event_streams(), scripts, terms, partitions())
def test_batches_end_anywhere(
    events: EventBatch, script: Script, paper: dict[str, Any], sizes: list[int]
) -> None:
    """Any cutting gives the same effects, report and state."""
    events = shifted(events)
    effects, engine = run([events], script, paper)
    whole = (effects, engine.report(), state_bytes(engine.snapshot()))
    for pieces in (sizes, [1] * 200):
        effects, engine = run(list(cut(events, pieces)), script, paper)

        assert whole == (effects, engine.report(), state_bytes(engine.snapshot()))


@given(event_streams(), scripts, terms, st.data())
def test_a_snapshot_holds_what_waits(
    events: EventBatch, script: Script, paper: dict[str, Any], data: Any
) -> None:
    """A fresh engine that takes a snapshot at any event fills, exits and expires as before."""
    events = shifted(events)
    until = data.draw(st.integers(1, events.last_seq))
    effects, first = run([between(events, 1, until)], script, paper)
    second = engine_of(script, paper)
    second.restore(msgspec.msgpack.decode(state_bytes(first.snapshot())))
    effects += second.process(between(events, until + 1, events.last_seq))
    whole, engine = run([events], script, paper)

    assert (whole, engine.report()) == (effects, second.report())
    assert state_bytes(engine.snapshot()) == state_bytes(second.snapshot())


@given(event_streams(), scripts, terms)
def test_money_and_positions_are_the_sum_of_the_fills(
    events: EventBatch, script: Script, paper: dict[str, Any]
) -> None:
    """Cash moves by side x price x quantity and commission; profit adds up in both ways."""
    effects, engine = run([shifted(events)], script, paper)
    cash, held = Fraction(CASH), {ONE: Fraction(0), TWO: Fraction(0)}
    for fill in (e for e in effects if isinstance(e, Fill) and not e.reason):
        cash -= fill.side * Fraction(fill.price) * Fraction(fill.quantity)
        cash -= Fraction(fill.commission)
        held[fill.instrument_token] += fill.side * Fraction(fill.quantity)
    portfolio, marks = engine.executors[0].broker.portfolio, engine._marks
    worth = sum((held[t] * Fraction(price) for t, price in marks.items()), cash) - CASH
    gained = Fraction(portfolio.realised) + Fraction(portfolio.unrealised(marks))

    assert cash == Fraction(portfolio.cash)
    assert worth == gained - Fraction(portfolio.commissions)
    assert worth == Fraction(Decimal(engine.report().executors[0].pnl))


@given(event_streams(), scripts, terms)
def test_every_signal_has_one_fate(
    events: EventBatch, script: Script, paper: dict[str, Any]
) -> None:
    """An approved signal is filled once, ends once with a reason, or still waits."""
    effects, engine = run([shifted(events)], script, paper)
    approved = [e.signal_id for e in effects if type(e).__name__ == "ApprovedSignal"]
    ended = [e.signal_id for e in effects if isinstance(e, Fill) and e.kind == "order"]
    waiting = [order.signal_id for order in engine.executors[0].broker.orders]

    assert sorted(approved) == sorted(ended + waiting)
    assert all(a.seq <= b.seq for a, b in pairwise(e for e in effects if isinstance(e, Fill)))


def test_the_streams_reach_every_rule() -> None:
    """Each fill and each end that can happen here does: the laws are not about silence."""
    wanted = {
        "order", "stop_loss", "take_profit", "expired", "not_at_once", "short_not_allowed",
        "insufficient_cash",
    }  # fmt: skip
    drawn = st.tuples(event_streams(min_ticks=60), scripts, terms)

    def reached(drawn: Any) -> set[str]:
        events, script, paper = drawn
        return {one.what for one in plain(shifted(events), script, paper).said}

    assert set() == unreached(drawn, wanted, reached)


def test_prices_beyond_the_table_are_no_trouble() -> None:
    """A level finer than any price is compared exactly, and one that no price reaches waits."""
    near = Decimal("100.00000000000000000000001")
    for stop, filled in (
        (near, False),
        (Decimal(100), True),
        (Decimal(10) ** 39, False),
    ):
        records = np.repeat(np.zeros(1, TABLE.tick_dtype), 4)
        records["seq"], records["ts_event"] = range(1, 5), range(1, 5)
        records["instrument_token"], records["price_int"] = ONE, 100_00
        records["flags"] = flag.TRADE
        how = {"order_type": "stop", "stop_price": stop - 100}
        events = EventBatch(TickBatch.from_records(records, TABLE))
        effects, _ = run([events], {1: ("BUY", Decimal(1), how)}, {})

        assert filled == any(isinstance(e, Fill) and not e.reason for e in effects)
