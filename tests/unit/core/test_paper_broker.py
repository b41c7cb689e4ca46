"""Paper fills: by the next tick that can fill, at its price, exact to the last digit."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parity.core.engine import Engine
from parity.core.executor import ExecutorPlan
from parity.core.portfolio import Portfolio
from parity.model import ticks as flag
from parity.model.effects import ApprovedSignal, Fill
from parity.model.events import EventBatch
from parity.model.instruments import Instrument, InstrumentTable
from parity.model.ticks import TickBatch
from parity.model.values import SignalResult, StrategyConfig
from parity.testing.generators import (
    ONE,
    TABLE,
    TWO,
    cut,
    dummy_quotes,
    dummy_records,
    event_streams,
    partitions,
)


class Scripted:
    """Says what a script holds for the n-th tick it sees."""

    def __init__(self, script: dict[int, tuple[str, Any]]) -> None:
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
        return "scripted"

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
        return None if said is None else SignalResult(said[0], 0.5, said[1], tick.price)


def run(
    records: Any,
    script: dict[int, tuple[str, Any]],
    *,
    paper: dict[str, Any] | None = None,
    on: str = "trades",
    table: InstrumentTable = TABLE,
    sizes: Sequence[int] = (),
) -> tuple[list[Fill], Engine]:
    """Return the fills of a scripted strategy, and the engine."""
    config = StrategyConfig(
        strategy_id="s", strategy_type="s", on=on, parameters={"paper": paper or {}}
    )
    engine = Engine(table, [ExecutorPlan(config, "paper", lambda: Scripted(script))])
    events = EventBatch(TickBatch.from_records(records, table))
    effects = [e for batch in cut(events, sizes) for e in engine.process(batch)]
    return [e for e in effects if isinstance(e, Fill)], engine


def cash(engine: Engine) -> Decimal:
    """Return the cash of the only executor."""
    return engine.executors[0].broker.portfolio.cash


@pytest.mark.parametrize("sizes", [(), (1,) * 9, (2, 3)])
def test_an_order_fills_at_the_next_tick_of_its_instrument(sizes: Sequence[int]) -> None:
    """Not at the tick of the signal, not at another instrument's, wherever batches end."""
    records = dummy_records(
        5, instrument_token=[ONE, TWO, TWO, ONE, ONE], price_int=[100_00, 7, 8, 101_00, 102_00]
    )
    (fill,), engine = run(records, {1: ("BUY", 2)}, sizes=sizes)

    assert (4, Decimal("101.0505"), Decimal(2)) == (fill.seq, fill.price, fill.quantity)
    assert Decimal("0.202101") == fill.commission
    assert Decimal(1000000) - Decimal("202.101") - Decimal("0.202101") == cash(engine)
    assert {ONE: Decimal(2)} == engine.executors[0].broker.portfolio.positions
    worth = 2 * Decimal("102.00")
    assert Decimal(engine.report().executors[0].pnl) == cash(engine) + worth - 1_000_000


def test_a_buy_pays_the_ask_and_a_sale_gets_the_bid() -> None:
    """A quote fills at its side, if it has it; a quote without that side fills nothing."""
    records = dummy_quotes(6, bid=[99_00] * 6, ask=[101_00] * 6)
    records["flags"][1] |= flag.NO_ASK
    records["flags"][4] |= flag.NO_BID
    free = {"slippage": 0, "commission": 0}
    fills, _ = run(records, {1: ("BUY", 1), 3: ("SELL", 1)}, paper=free, on="quotes")

    # ticks 2 and 5 have one side only and are not seen, so the third tick seen is tick 4
    assert [(3, 1, Decimal(101)), (6, -1, Decimal(99))] == [(f.seq, f.side, f.price) for f in fills]


@pytest.mark.parametrize("sizes", [(), (1,) * 9])
def test_a_position_from_a_one_sided_quote_has_a_mark(sizes: Sequence[int]) -> None:
    """Where nothing but an ask was ever seen behind the fill, the position is marked at it."""
    records = dummy_quotes(3, bid=[99_00] * 3, ask=[101_00, 101_00, 103_00])
    records["flags"][1:] |= flag.NO_BID
    free = {"slippage": 0, "commission": 0}
    _, engine = run(records, {1: ("BUY", 1)}, paper=free, on="quotes", sizes=sizes)

    assert 2 == Decimal(engine.report().executors[0].pnl)


def test_the_profit_does_not_tell_where_batches_ended() -> None:
    """Marks of closed positions are the same in the state, whatever the batches."""
    records = dummy_records(6, price_int=[100_00, 101_00, 102_00, 103_00, 104_00, 105_00])
    script = {1: ("BUY", 1), 3: ("SELL", 1)}
    states = [run(records, script, sizes=s)[1].snapshot() for s in ((), (1,) * 6, (2,), (3, 1))]

    assert states[0]["marks"] == {str(ONE): "105.00"}
    assert all(state == states[0] for state in states)


def test_what_cannot_be_paid_or_delivered_is_refused() -> None:
    """No short position, no debt, no inverse contract, nothing that is not exact; each by name."""
    records = dummy_records(4)
    table = InstrumentTable([Instrument(token=ONE, symbol="X", price_scale=2, kind="inverse")])
    cases: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
        ("short_not_allowed", {1: ("SELL", 1)}, {}),
        ("insufficient_cash", {1: ("BUY", 10)}, {"paper": {"cash": 1_001}}),
        ("inverse_contract", {1: ("BUY", 1)}, {"table": table}),
        ("not_exact", {1: ("BUY", 1e-300)}, {}),
    ]
    for reason, script, more in cases:
        (fill,), engine = run(records, script, **more)

        assert (reason, 0, 0) == (fill.reason, fill.quantity, fill.commission)
        assert {} == engine.executors[0].broker.portfolio.positions
        assert {f"paper_{reason}": 1} == engine.report().drops
        assert 0 == engine.report().fills
        assert Decimal(0) == Decimal(engine.report().executors[0].pnl)


def test_cash_to_the_last_digit_is_enough() -> None:
    """An order that costs all there is passes; one digit less of cash and it does not."""
    records = dummy_records(3)
    cost = Decimal("100.00") * Decimal("1.0005") * Decimal("1.001")
    for cash_at_start, count in ((cost, 1), (cost - Decimal("1e-20"), 0)):
        fills, engine = run(records, {1: ("BUY", 1)}, paper={"cash": str(cash_at_start)})

        assert count == sum(not f.reason for f in fills)
        assert (cash(engine) == 0) == bool(count)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["BUY", "SELL"]),
            st.decimals("0.001", "50", allow_nan=False, allow_infinity=False),
            st.sampled_from([0, 0, 1, 197, 300]),  # zeros behind its digits
        ),
        min_size=1,
        max_size=6,
    ),
    st.sampled_from(["1", "1.0", "0.01"]),
)
def test_a_portfolio_has_the_digits_that_its_fills_give(
    orders: list[tuple[str, Decimal, int]], size: str
) -> None:
    """Law: what is known of a fill before it is taken is what the portfolio finds by itself."""
    table = InstrumentTable(
        [Instrument(token=ONE, symbol="X", price_scale=2, kind="future", contract_size=size)]
    )
    script: dict[int, tuple[str, Any]] = {}
    for at, (side, quantity, zeros) in enumerate(orders, 1):
        text = format(quantity, "f")
        script[at] = side, Decimal(text + ("" if "." in text else ".") + "0" * zeros)
    records = dummy_records(len(orders) + 1, price_int=list(range(100_00, 100_01 + len(orders))))
    fills, engine = run(records, script, paper={"allow_short": True}, table=table)
    alone = Portfolio(Decimal(1_000_000), table)
    for fill in fills:
        if not fill.reason:
            money = fill.quantity, fill.price, fill.commission
            alone.take(fill.instrument_token, fill.side, *money)

    assert engine.executors[0].broker.portfolio.snapshot() == alone.snapshot()
    assert {fill.reason for fill in fills} <= {"", "insufficient_cash"}


def test_the_contract_size_counts() -> None:
    """The notional is price x quantity x contract size."""
    table = InstrumentTable(
        [Instrument(token=ONE, symbol="X", price_scale=2, kind="future", contract_size="0.01")]
    )
    (_,), engine = run(dummy_records(3), {1: ("BUY", 1)}, table=table)

    assert 1_000_000 - cash(engine) == Decimal("1.0005") + Decimal("0.0010005")


orders = st.dictionaries(
    st.integers(1, 60),
    st.tuples(
        st.sampled_from(["BUY", "SELL"]),
        st.decimals("0.001", "50", places=3, allow_nan=False, allow_infinity=False),
    ),
    max_size=30,
)


@pytest.mark.slow
@given(event_streams(), partitions(), orders, st.booleans())
def test_money_is_conserved_to_the_last_digit(
    events: EventBatch, sizes: list[int], script: dict[int, tuple[str, Any]], short: bool
) -> None:
    """Cash and positions are what the fills say, exactly; each approved order ends at most once."""
    terms = {"cash": 2_000, "allow_short": short}
    records = events.ticks.to_records()
    fills, engine = run(records, script, paper=terms, sizes=sizes)
    left, held = Decimal(2_000), {ONE: Decimal(0), TWO: Decimal(0)}
    for fill in fills:
        at = records[np.flatnonzero(records["seq"] == fill.seq)[0]]
        assert not int(at["flags"]) & flag.UNDELIVERED
        assert fill.instrument_token == at["instrument_token"]
        assert fill.ts_event == at["ts_event"]
        left -= fill.side * fill.price * fill.quantity + fill.commission
        held[fill.instrument_token] += fill.side * fill.quantity
        assert left >= 0
        assert short or held[fill.instrument_token] >= 0

    assert left == cash(engine)
    positions = engine.executors[0].broker.portfolio.positions
    assert {t: q for t, q in held.items() if q} == {t: q for t, q in positions.items() if q}
    ids = [f.signal_id for f in fills]
    assert len(ids) == len(set(ids))


def test_fills_come_before_what_the_same_tick_says() -> None:
    """At one tick: first the order of an earlier tick fills, then the new signal waits."""
    config = StrategyConfig(strategy_id="s", strategy_type="s")
    script = {1: ("BUY", 1), 2: ("BUY", 1)}
    engine = Engine(TABLE, [ExecutorPlan(config, "paper", lambda: Scripted(script))])
    effects = engine.process(EventBatch(TickBatch.from_records(dummy_records(3), TABLE)))
    kinds = [(type(e).__name__) for e in effects if isinstance(e, Fill | ApprovedSignal)]

    assert ["ApprovedSignal", "Fill", "ApprovedSignal", "Fill"] == kinds
