"""Binance archive files (data.binance.vision): trades, aggTrades and bookTicker of three markets.

Columns as published in binance-public-data; spot files have no header, futures files have one
since 2022-08-11. Times are ms, in spot files µs since 2025-01-01, told apart by digits. The symbol
stands in the file's name only (`BTCUSDT-trades-2025-06-01.zip`).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from parity.model.errors import InputRefused
from parity.sources.importers.csv import maps_columns, open_layout
from parity.sources.importers.formats import Match
from parity.sources.importers.layouts import Layout
from parity.sources.importers.tables import Found, refuse_bars

if TYPE_CHECKING:
    from parity.sources.importers.formats import Options
    from parity.sources.importers.sample import Sample
    from parity.sources.importers.tables import TickFile

_NAME: Final = re.compile(
    r"^(?P<symbol>[A-Z0-9]+(_[A-Z0-9]+)?)-(?P<layout>trades|aggTrades|bookTicker)([-.]|$)"
)
_INVERSE: Final = re.compile(r"^[A-Z0-9]+USD_([0-9]{6}|PERP)$")
_VENUES: Final = {
    "binance-spot": ("BINANCE-SPOT", "spot"),
    "binance-um": ("BINANCE-USDM", "perp"),
    "binance-cm": ("BINANCE-COINM", "inverse"),
}
_TRADE: Final = {
    "trade_id": "id",
    "price": "price",
    "quantity": "qty",
    "ts_event": "time",
    "buyer_maker": "is_buyer_maker",
}
_AGGREGATE: Final = {
    "trade_id": "agg_trade_id",
    "price": "price",
    "quantity": "quantity",
    "ts_event": "transact_time",
    "buyer_maker": "is_buyer_maker",
}
_ALSO: Final = {
    "trade_id": "id",
    "quantity": "qty",
    "quoteQty": "quote_qty",
    "isBuyerMaker": "is_buyer_maker",
    "isBestMatch": "is_best_match",
}
_ALSO_AGGREGATE: Final = {
    "aggTradeId": "agg_trade_id",
    "qty": "quantity",
    "firstId": "first_trade_id",
    "first_id": "first_trade_id",
    "lastId": "last_trade_id",
    "last_id": "last_trade_id",
    "time": "transact_time",
    "timestamp": "transact_time",
    "isBuyerMaker": "is_buyer_maker",
    "isBestMatch": "is_best_match",
}
_FILLS: Final = ("agg_trade_id", "price", "quantity", "first_trade_id", "last_trade_id")


def _describe(symbol: str, venue: str) -> Found:
    kinds = dict(_VENUES.values())
    size = "1"
    if venue == "BINANCE-COINM":  # contracts of 100 USD on bitcoin, of 10 USD on the others
        size = "100" if symbol.startswith("BTCUSD_") else "10"
    return Found(symbol, venue, kinds.get(venue, "spot"), contract_size=size)


def _layout(format: str, name: str, names: tuple[str, ...], cells: str, **more: Any) -> Layout:
    return Layout(format=format, name=name, names=names, cells=cells, describe=_describe, **more)


def _layouts() -> list[Layout]:
    best = ("time", "is_buyer_maker", "is_best_match")
    trades: dict[str, Any] = {"columns": _TRADE, "also": _ALSO}
    fills: dict[str, Any] = {"columns": _AGGREGATE, "also": _ALSO_AGGREGATE}
    found = [
        _layout("binance-spot", "trades", ("id", "price", "qty", "quote_qty", *best), "idddtbb",
                **trades),
        _layout("binance-spot", "aggTrades",
                (*_FILLS, "transact_time", "is_buyer_maker", "is_best_match"), "iddiitbb", **fills),
    ]  # fmt: skip
    for format, money in (("binance-um", "quote_qty"), ("binance-cm", "base_qty")):
        names = ("id", "price", "qty", money, "time", "is_buyer_maker")
        ticker = ("update_id", "best_bid_price", "best_bid_qty", "best_ask_price", "best_ask_qty",
                  "transaction_time", "event_time")  # fmt: skip
        quotes = {
            "bid": "best_bid_price",
            "bid_quantity": "best_bid_qty",
            "ask": "best_ask_price",
            "ask_quantity": "best_ask_qty",
            "ts_event": "transaction_time",
        }
        found += [
            _layout(format, "trades", names, "idddtb", **trades),
            _layout(format, "aggTrades", (*_FILLS, "transact_time", "is_buyer_maker"), "iddiitb",
                    **fills),
            _layout(format, "bookTicker", ticker, "iddddtt", columns=quotes, row_id="update_id"),
        ]  # fmt: skip
    # Spot's stream has no time; some captures of it say one, under the names of the futures.
    found += [
        _layout("binance-spot", "bookTicker", ticker, "iddddtt", columns=quotes,
                row_id="update_id", asked=True),
        _layout("binance-spot", "bookTicker", ticker[:5], "idddd", columns=quotes,
                row_id="update_id"),
    ]  # fmt: skip
    return found


LAYOUTS: Final = tuple(_layouts())
_BARS: Final = Layout(
    format="binance-spot",
    name="klines",
    names=("open_time", "open", "high", "low", "close", "volume", "close_time", "quote_volume",
           "count", "taker_buy_volume", "taker_buy_quote_volume", "ignore"),
    cells="tdddddtdiddd",
    columns={},
)  # fmt: skip


class BinanceFormat:
    """One of Binance's markets.

    Args:
        name: "binance-spot", "binance-um" (USD-M) or "binance-cm" (COIN-M).
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def recognise(self, sample: Sample, options: Options) -> list[Match]:
        """Recognise the layouts of this market by columns; the name must not speak against it."""
        if maps_columns(options):
            return []
        if _BARS.fits(sample):
            refuse_bars(sample.path, [*_BARS.names])
        symbol, named = _of_name(sample, options)
        found = []
        for layout in self._layouts():
            fits = layout.fits(sample)
            if fits is None or (named and named != layout.name) or not self._trades(symbol):
                continue
            if (
                not named
                and sample.header is None
                and layout.name == "bookTicker"
                and (self.name == "binance-spot")
            ):
                continue  # an id and four decimals: anything may look like that
            by_name = f", named {sample.name}" if named else ""
            found.append(Match(self.name, layout.name, fits + by_name, layout.asked))
        return found

    def open(self, sample: Sample, match: Match | None, options: Options) -> TickFile:
        """Open it; the instrument is what --map, or else the file's name, says."""
        symbol, named = _of_name(sample, options)
        layouts = self._layouts()
        if match is None:
            wanted = named or "trades"
            raise next((one for one in layouts if one.name == wanted), layouts[0]).refuse(sample)
        only = (_VENUES[self.name][0], symbol) if symbol else None
        layout = next(one for one in layouts if one.name == match.layout and one.fits(sample))
        timed = {*layout.sources(sample), *options.columns} & {"ts_event", "ts_recv"}
        if not timed:
            raise InputRefused(
                f"{sample.path}: a bookTicker of spot, which has no time in any row",
                cure="give its rows one, in the order of the file: "
                "--map ts_recv==2025-06-01T00:00:00Z; or record the stream with arrival times "
                "and import that with --format csv --map",
            )
        return open_layout(sample, layout, options, only=only)

    def _layouts(self) -> list[Layout]:
        return [layout for layout in LAYOUTS if layout.format == self.name]

    def _trades(self, symbol: str) -> bool:
        # An underscore with USD before it is a COIN-M contract (BTCUSD_PERP), and only that.
        return not symbol or (_INVERSE.match(symbol) is not None) == (self.name == "binance-cm")


FORMATS: Final = tuple(BinanceFormat(name) for name in _VENUES)


def _of_name(sample: Sample, options: Options) -> tuple[str, str | None]:
    """Return the symbol ("" where unknown) and the layout that a file's name says."""
    found = _NAME.match(sample.name)
    symbol = options.columns.get("symbol", "").removeprefix("=")
    if found is None:
        return symbol, None
    return symbol or found["symbol"], found["layout"]
