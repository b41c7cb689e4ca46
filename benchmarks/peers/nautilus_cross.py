"""The SMA cross as a strategy of NautilusTrader over trade ticks; run by the peer's Python.

`memory` and `catalog` (read back from its own Parquet catalog) sum the raw integers of its prices:
the same exact rule as parity's. `own` uses its own indicators, on floats. The ticks are made, and
the catalog is written, before the clock; orders are left out, as everywhere here.
"""

import tempfile
import time

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
from nautilus_trader.config import LoggingConfig
from nautilus_trader.indicators import SimpleMovingAverage
from nautilus_trader.model.currencies import BTC, USDT
from nautilus_trader.model.enums import AccountType, OmsType
from nautilus_trader.model.identifiers import InstrumentId, Symbol, Venue
from nautilus_trader.model.instruments import CurrencyPair
from nautilus_trader.model.objects import Money, Price, Quantity
from nautilus_trader.persistence.catalog import ParquetDataCatalog
from nautilus_trader.persistence.wranglers import TradeTickDataWrangler
from nautilus_trader.trading.strategy import Strategy

from benchmarks.peers import child
from benchmarks.peers.rule import Cross

VENUE = Venue("PEERS")


class Exact(Strategy):
    """The rule over the raw integers of its prices."""

    def __init__(self, instruments, fast, slow):
        super().__init__()
        self.crosses = {one.id: Cross(fast, slow) for one in instruments}
        self.kept = []

    def on_start(self):
        """Ask for every trade."""
        for instrument_id in self.crosses:
            self.subscribe_trade_ticks(instrument_id)

    def on_trade_tick(self, tick):
        """Apply the rule."""
        side = self.crosses[tick.instrument_id].take(tick.price.raw)
        if side:
            self.kept.append((tick.instrument_id, side, tick.price))


class Own(Strategy):
    """The rule over the peer's own indicators."""

    def __init__(self, instruments, fast, slow):
        super().__init__()
        self.averages = {
            one.id: (SimpleMovingAverage(fast), SimpleMovingAverage(slow), Cross(1, 2))
            for one in instruments
        }
        self.kept = []

    def on_start(self):
        """Ask for every trade, and let the indicators have it first."""
        for instrument_id, (quick, calm, _) in self.averages.items():
            self.register_indicator_for_trade_ticks(instrument_id, quick)
            self.register_indicator_for_trade_ticks(instrument_id, calm)
            self.subscribe_trade_ticks(instrument_id)

    def on_trade_tick(self, tick):
        """Apply the rule."""
        quick, calm, cross = self.averages[tick.instrument_id]
        if calm.initialized:
            side = cross.sided(quick.value - calm.value)
            if side:
                self.kept.append((tick.instrument_id, side, tick.price))


def instrument(one):
    """Return an instrument of the given scales."""
    price_scale, quantity_scale = one["price_scale"], one["quantity_scale"]
    return CurrencyPair(
        InstrumentId(Symbol(str(one["token"])), VENUE),
        Symbol(str(one["token"])),
        BTC,
        USDT,
        price_scale,
        quantity_scale,
        Price(10.0**-price_scale, price_scale),
        Quantity(10.0**-quantity_scale, quantity_scale),
        0,
        0,
    )


def trades(table, mine, made):
    """Return one instrument's rows as the peer's ticks."""
    frame = pd.DataFrame(
        {
            "price": table["price"][mine],
            "quantity": table["quantity"][mine],
            "buyer_maker": table["side"][mine] < 0,
            "trade_id": np.arange(len(table["side"]))[mine].astype(str),
        },
        index=pd.DatetimeIndex(table["ts"][mine], tz="UTC"),
    )
    return TradeTickDataWrangler(made).process(frame)


def built(asked, instruments):
    """Return an engine with the strategy in it, and the strategy."""
    engine = BacktestEngine(BacktestEngineConfig(logging=LoggingConfig(bypass_logging=True)))
    money = [Money(1_000_000, USDT)]
    engine.add_venue(VENUE, OmsType.NETTING, AccountType.MARGIN, money, base_currency=USDT)
    for made in instruments:
        engine.add_instrument(made)
    kind = Own if asked["form"] == "own" else Exact
    strategy = kind(instruments, asked["fast"], asked["slow"])
    engine.add_strategy(strategy)
    return engine, strategy


def main() -> None:
    """Run once; print the CPU seconds and the number of signals."""
    asked = child.asked()
    form = asked["form"]
    read = pq.read_table(asked["table"])
    table = {name: read.column(name).to_numpy() for name in read.column_names}
    instruments = [instrument(one) for one in asked["instruments"]]
    ticks = []
    for one, made in zip(asked["instruments"], instruments, strict=True):
        ticks += trades(table, table["instrument_token"] == one["token"], made)
    ticks.sort(key=lambda tick: tick.ts_init)
    warm, _ = built(asked, instruments)  # what a process pays once
    warm.add_data(ticks[:500])
    warm.run()
    warm.dispose()
    engine, strategy = built(asked, instruments)
    with tempfile.TemporaryDirectory() as folder:
        catalog = ParquetDataCatalog(folder)
        if form == "catalog":
            for made in instruments:
                catalog.write_data([one for one in ticks if one.instrument_id == made.id])
            ticks = []
        else:
            engine.add_data(ticks)
        begin = time.process_time()
        if form == "catalog":
            engine.add_data(catalog.trade_ticks([str(made.id) for made in instruments]))
        engine.run()
        seconds = time.process_time() - begin
    sides = [side for _, side, _ in strategy.kept]
    child.tell(seconds, sides.count(1), sides.count(-1))


main()
