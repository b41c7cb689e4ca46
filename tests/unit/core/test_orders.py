"""Order types one by one: what each waits for, at which price it fills, and how it ends."""

from decimal import Decimal
from typing import Any

import pytest

from parity.core.engine import Engine
from parity.core.executor import ExecutorPlan
from parity.core.orders import KEYS, Bracket, instructions, order_fault
from parity.model import ticks as flag
from parity.model.effects import DroppedSignal, Fill
from parity.model.errors import ConfigError
from parity.model.events import EventBatch
from parity.model.instruments import Instrument, InstrumentTable
from parity.model.ticks import TickBatch
from parity.model.values import SignalResult, StrategyConfig
from parity.testing.generators import ONE, TABLE, dummy_quotes, dummy_records

D = Decimal
FREE = {"slippage": 0, "commission": 0}
Said = tuple[str, Any, dict[str, Any]]


class Ordering:
    """Says what a script holds for the n-th tick it sees."""

    def __init__(self, script: dict[int, Said]) -> None:
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

    def process_tick(self, tick: Any, history: Any) -> SignalResult | None:
        """Read the script."""
        self.at += 1
        said = self.script.get(self.at)
        return said and SignalResult(said[0], 0.5, said[1], tick.price, "", said[2])


def engine_of(
    script: dict[int, Said],
    paper: dict[str, Any],
    table: InstrumentTable = TABLE,
    on: str = "trades",
) -> Engine:
    """Return an engine of one scripted strategy."""
    config = StrategyConfig(
        strategy_id="s", strategy_type="s", on=on, parameters={"paper": {**FREE, **paper}}
    )
    return Engine(table, [ExecutorPlan(config, "paper", lambda: Ordering(script))])


def run(
    records: Any,
    script: dict[int, Said],
    *,
    table: InstrumentTable = TABLE,
    on: str = "trades",
    **paper: Any,
) -> list[tuple[int, str, Decimal]]:
    """Return (seq, what, price) of everything that became of the orders; prices without costs."""
    engine = engine_of(script, paper, table, on)
    effects = engine.process(EventBatch(TickBatch.from_records(records, table)))
    fills = [e for e in effects if isinstance(e, Fill)]
    return [(f.seq, f.reason or f.kind, f.price) for f in fills]


def trades(*prices: float, **columns: Any) -> Any:
    """Return trades at the prices, a second apart."""
    return dummy_records(len(prices), price_int=[round(p * 100) for p in prices], **columns)


def buy(**how: Any) -> dict[int, Said]:
    """Return a script that buys one at the first tick."""
    return {1: ("BUY", 1, how)}


@pytest.mark.parametrize(
    ("prices", "expected"),
    [
        ((100, 99, 98), (2, 99)),  # within the limit when it arrives: at the tick's price
        ((100, 99.5, 98), (2, 99.5)),  # as well at the limit itself
        ((100, 100, 99.5, 99.4), (4, 99.5)),  # resting: at the limit, when a trade goes through
        ((100, 100, 95), (3, 99.5)),  # nor better than the limit, where the price jumps
        ((100, 100, 99.5, 99.5), None),  # a trade at the limit may have been another's
    ],
)
def test_a_buy_limit(prices: tuple[float, ...], expected: tuple[int, float] | None) -> None:
    """A limit order at 99.50 takes a price within it on arrival, else it rests."""
    found = run(trades(*prices), buy(order_type="limit", limit_price=99.5))

    assert ([] if expected is None else [(expected[0], "order", D(str(expected[1])))]) == found


def test_a_sell_limit_mirrors_it() -> None:
    """A sale rests above the price, and needs a trade above its limit."""
    script = {1: ("SELL", 1, {"order_type": "limit", "limit_price": D("100.5")})}
    found = run(trades(100, 100, 100.5, 101), script, allow_short=True)

    assert [(4, "order", D("100.5"))] == found


def test_a_resting_limit_is_reached_by_a_quote() -> None:
    """An ask at the limit is an offer that the order takes; the bid says nothing to a BUY."""
    records = dummy_quotes(4, bid=[99_00] * 4, ask=[101_00, 101_00, 100_51, 100_50])
    found = run(records, buy(order_type="limit", limit_price=100.5), on="quotes")

    assert [(4, "order", D("100.5"))] == found


@pytest.mark.parametrize(
    ("side", "prices", "expected"),
    [
        ("BUY", (100, 100.4, 100.5), (3, 100.5)),  # at the stop is enough
        ("BUY", (100, 100, 103), (3, 103)),  # beyond it: at that trade's price
        ("BUY", (100, 101, 90), (2, 101)),  # on arrival
        ("SELL", (101, 100.6, 100.5), (3, 100.5)),
        ("SELL", (101, 101, 97), (3, 97)),
    ],
)
def test_a_stop_becomes_a_market_order(
    side: str, prices: tuple[float, ...], expected: tuple[int, float]
) -> None:
    """A BUY stop at 100.50 is set off at or above it, a SELL at or below; a gap costs."""
    script = {1: (side, 1, {"order_type": "stop", "stop_price": 100.5})}
    found = run(trades(*prices), script, allow_short=True)

    assert [(expected[0], "order", D(str(expected[1])))] == found


@pytest.mark.parametrize(
    ("prices", "expected"),
    [
        ((100, 100.6, 100), (2, 100.6)),  # set off within the limit: at that trade's price
        ((100, 102, 101, 100.9), (4, 101)),  # set off beyond it: rests at the limit
        ((100, 100.4, 100.1), None),
    ],
)
def test_a_stop_limit(prices: tuple[float, ...], expected: tuple[int, float] | None) -> None:
    """Stop 100.50, limit 101: first the stop, then the limit, at one tick if both are met."""
    how = {"order_type": "stop_limit", "stop_price": 100.5, "limit_price": 101}
    found = run(trades(*prices), buy(**how))

    assert ([] if expected is None else [(expected[0], "order", D(str(expected[1])))]) == found


def test_slippage_is_for_market_and_stop_only() -> None:
    """A limit fill and an exit are at their levels; commission is on each."""
    paper = {"slippage": 0.01, "commission": 0.001}
    for how, price in (
        ({}, D("101")),
        ({"order_type": "stop", "stop_price": 100}, D("101")),
        ({"order_type": "limit", "limit_price": 100}, D("100")),
    ):
        engine = engine_of(buy(**how), paper)
        effects = engine.process(EventBatch(TickBatch.from_records(trades(100, 100), TABLE)))
        (fill,) = [e for e in effects if isinstance(e, Fill)]

        assert (price, price / 1000) == (fill.price, fill.commission)


@pytest.mark.parametrize("tif", ["IOC", "FOK"])
def test_at_once_or_not_at_all(tif: str) -> None:
    """The first tick that can fill it fills it, or it ends there."""
    limit = {"order_type": "limit", "limit_price": 99, "tif": tif}
    records = trades(100, 0, 99, 98)
    records["flags"][1] |= flag.NO_PRICE  # this one can fill nothing

    assert [(3, "order", D(99))] == run(records, buy(**limit))
    assert [(2, "not_at_once", D(100))] == run(trades(100, 100, 98), buy(**limit))
    assert [(2, "order", D(101))] == run(trades(100, 101), buy(tif=tif))


def test_a_day_order_ends_with_its_utc_day() -> None:
    """It expires at midnight, before the tick that passes it, stamped with midnight."""
    day = 86_400 * 10**9
    how = {"order_type": "limit", "limit_price": 99, "tif": "DAY"}
    script = {1: ("BUY", 1, how), 2: ("BUY", 1, {**how, "tif": "GTC"})}
    records = trades(100, 100, 100, 98, ts_event=[day - 3, day - 2, day - 1, day])
    engine = engine_of(script, {})
    effects = engine.process(EventBatch(TickBatch.from_records(records, TABLE)))
    fills = [(f.seq, f.ts_event, f.ordinal, f.reason) for f in effects if isinstance(f, Fill)]

    assert [(4, day, -1, "expired"), (4, day, 0, "")] == fills
    assert {"paper_expired": 1} == engine.report().drops


def test_an_order_may_have_an_age() -> None:
    """`order_ttl_sec` ends what waits longer, whatever its type."""
    found = run(
        trades(100, 100, 100, 98), buy(order_type="limit", limit_price=99), order_ttl_sec=2.5
    )

    assert [(4, "expired", D(0))] == found


@pytest.mark.parametrize(
    ("prices", "exit_"),
    [
        ((100, 100, 101, 110, 90), (4, "take_profit", 110)),
        ((100, 100, 101, 120, 90), (4, "take_profit", 110)),  # at the level, no better
        ((100, 100, 95, 200), (3, "stop_loss", 95)),
        ((100, 100, 50, 200), (3, "stop_loss", 95)),  # at the level, no worse
        ((100, 100, 95.01, 109.99), None),
    ],
)
def test_exits_are_at_their_levels(
    prices: tuple[float, ...], exit_: tuple[int, str, int] | None
) -> None:
    """Take profit at entry x 1.10, stop loss at entry x 0.95, from the tick behind the entry."""
    found = run(trades(*prices), buy(take_profit_pct=10, stop_loss_pct=5))
    expected = [] if exit_ is None else [(exit_[0], exit_[1], D(exit_[2]))]

    assert [(2, "order", D(100)), *expected] == found


def test_the_stop_loss_wins() -> None:
    """Where one price is at both levels, which no fill can bring, the position is stopped out."""
    engine = engine_of(buy(), {})
    engine.process(EventBatch(TickBatch.from_records(trades(100, 100), TABLE)))
    crossed = Bracket(TABLE.dense_id(ONE), ONE, -1, D(101), D(99), "x")
    engine.executors[0].broker.brackets[ONE] = crossed
    tail = trades(100, 100, 100)[2:]
    (fill,) = engine.process(EventBatch(TickBatch.from_records(tail, TABLE)))

    assert isinstance(fill, Fill)
    assert ("stop_loss", D(101)) == (fill.kind, fill.price)


def test_an_exit_of_a_short_position_buys() -> None:
    """Its stop loss lies above the entry, its take profit below."""
    script = {1: ("SELL", 2, {"take_profit_pct": 10, "stop_loss_pct": 5})}
    up = run(trades(100, 100, 106), script, allow_short=True)
    down = run(trades(100, 100, 89), script, allow_short=True)

    assert [(3, "stop_loss", D(105))] == up[1:]
    assert [(3, "take_profit", D(90))] == down[1:]


def test_an_exit_changes_the_portfolio() -> None:
    """The trap of the seed's service: the exit was published, and the position stayed."""
    script = {1: ("BUY", 3, {"stop_loss_pct": 10}), 4: ("SELL", 3, {})}
    engine = engine_of(script, {"cash": 1_000, "commission": 0.001})
    records = trades(100, 100, 80, 80, 80)
    effects = engine.process(EventBatch(TickBatch.from_records(records, TABLE)))
    exit_, refused = [e for e in effects if isinstance(e, Fill)][1:]
    portfolio = engine.executors[0].broker.portfolio

    assert ("stop_loss", D(3), D("0.27")) == (exit_.kind, exit_.quantity, exit_.commission)
    assert D(1_000) - 30 - D("0.3") - D("0.27") == portfolio.cash
    assert (D(0), D(-30), D("0.57")) == (
        portfolio.held(ONE),
        portfolio.realised,
        portfolio.commissions,
    )
    assert "short_not_allowed" == refused.reason
    assert {} == engine.executors[0].broker.brackets
    assert exit_.signal_id.endswith(":stop_loss")


def test_the_newest_entry_sets_the_exits_of_the_whole_position() -> None:
    """A later fill with exits replaces those of the first; one without leaves them."""
    script = {
        1: ("BUY", 1, {"stop_loss_pct": 1}),
        2: ("BUY", 1, {"stop_loss_pct": 10}),
        3: ("BUY", 1, {}),
    }
    found = run(trades(100, 100, 100, 98, 90), script)

    assert [(5, "stop_loss", D(90))] == found[3:]


def test_a_position_that_turns_loses_its_exits() -> None:
    """Exits of a long position do not act on the short one that follows."""
    script = {1: ("BUY", 1, {"stop_loss_pct": 10}), 2: ("SELL", 2, {})}
    found = run(trades(100, 100, 100, 80), script, allow_short=True)

    assert ["order", "order"] == [what for _, what, _ in found]


def test_orders_come_before_exits_at_one_tick() -> None:
    """A waiting sale fills first; then there is nothing left to be stopped out."""
    script = {1: ("BUY", 1, {"stop_loss_pct": 10}), 2: ("SELL", 1, {})}
    found = run(trades(100, 100, 90), script)

    assert [(2, "order", D(100)), (3, "order", D(90))] == found


def test_quantities_are_whole_lots() -> None:
    """A quantity that is no multiple of the lot size is refused; without one any passes."""
    table = InstrumentTable([Instrument(token=ONE, symbol="X", price_scale=2, lot_size="75")])
    script: dict[int, Said] = {1: ("BUY", 150, {}), 2: ("BUY", 100, {})}
    found = run(trades(100, 100, 100), script, table=table)

    assert [(2, "order", D(100)), (3, "lot_size", D(100))] == found
    assert table == InstrumentTable.from_json(table.to_json())
    assert "lot_size" not in TABLE.to_json()[0]
    with pytest.raises(ConfigError, match="lot_size"):
        Instrument(token=1, symbol="X", price_scale=2, lot_size="-1")


def test_flatten_cancels_and_closes() -> None:
    """Waiting orders end, positions are closed at the next ticks, and exits with them."""
    script: dict[int, Said] = {
        1: ("BUY", 2, {"stop_loss_pct": 50}),
        2: ("BUY", 1, {"order_type": "limit", "limit_price": 90}),
    }
    engine = engine_of(script, {})
    engine.process(EventBatch(TickBatch.from_records(trades(100, 100, 100), TABLE)))
    cancelled = engine.executors[0].flatten(4)
    tail = trades(100, 101, 102)[1:]
    tail["seq"] = (5, 6)
    effects = engine.process(EventBatch(TickBatch.from_records(tail, TABLE)))
    fills = [e for e in (*cancelled, *effects) if isinstance(e, Fill)]

    assert [(4, "cancelled", D(0)), (5, "", D(2))] == [(f.seq, f.reason, f.quantity) for f in fills]
    assert "flatten" == fills[1].kind
    assert (D(0), {}) == (
        engine.executors[0].broker.portfolio.held(ONE),
        engine.executors[0].broker.brackets,
    )


@pytest.mark.parametrize(
    ("metadata", "word"),
    [
        ({"order_type": "iceberg"}, "order_type"),
        ({"order_type": ["limit"]}, "order_type"),
        ({"order_type": "limit"}, "limit_price"),
        ({"order_type": "stop_limit", "limit_price": 1}, "stop_price"),
        ({"limit_price": 100}, "limit_price"),
        ({"order_type": "stop", "stop_price": "100"}, "stop_price"),
        ({"order_type": "stop", "stop_price": -1}, "stop_price"),
        ({"order_type": "stop", "stop_price": float("nan")}, "stop_price"),
        ({"order_type": "stop", "stop_price": True}, "stop_price"),
        ({"order_type": "stop", "stop_price": D("1e-100")}, "stop_price"),
        ({"tif": "day"}, "tif"),
        ({"stop_loss_pct": 0}, "stop_loss_pct"),
        ({"stop_loss_pct": 100}, "stop_loss_pct"),
        ({"take_profit_pct": float("inf")}, "take_profit_pct"),
    ],
)
def test_what_is_no_order_is_dropped(metadata: dict[str, Any], word: str) -> None:
    """It never becomes a signal, and the drop says which key is wrong."""
    engine = engine_of({1: ("BUY", 1, metadata)}, {})
    effects = engine.process(EventBatch(TickBatch.from_records(trades(100, 100), TABLE)))
    (drop,) = [e for e in effects if isinstance(e, DroppedSignal)]

    assert "sanity_order" == drop.reason
    assert word in drop.seen


def test_other_metadata_and_none_are_no_business_of_ours() -> None:
    """A key that is None asks for nothing; a SELL may take more than 100 percent upward."""
    assert "" == order_fault(1, {"n": 1})
    assert instructions(1, {}) == instructions(1, dict.fromkeys(KEYS))
    assert "" == order_fault(-1, {"stop_loss_pct": 150})
    assert "take_profit_pct" in order_fault(-1, {"take_profit_pct": 150})
