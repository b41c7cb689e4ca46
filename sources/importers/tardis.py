"""Tardis.dev CSV data sets: trades, quotes and book_ticker.

Times are microseconds, rows follow local_timestamp (our ts_recv), an empty cell is absent, and two
equal times say that the exchange gave none. Liquidations have the columns of trades and are none:
only the file's name tells, so it is asked.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as typed_pc

from parity.model.errors import InputRefused
from parity.sources.importers import decimals
from parity.sources.importers.csv import maps_columns, open_layout
from parity.sources.importers.formats import Match
from parity.sources.importers.layouts import Layout
from parity.sources.importers.tables import Found

if TYPE_CHECKING:
    from parity.sources.importers.formats import Options
    from parity.sources.importers.layouts import Columns
    from parity.sources.importers.sample import Sample
    from parity.sources.importers.tables import Place, TickFile

pc: Any = typed_pc  # its stubs refuse plain Python scalars, which it takes

_START: Final = ("exchange", "symbol", "timestamp", "local_timestamp")
_BOTH: Final = {
    "venue": "exchange",
    "symbol": "symbol",
    "ts_event": "timestamp",
    "ts_recv": "local_timestamp",
}
_NAMES: Final = {
    "trades": (*_START, "id", "side", "price", "amount"),
    "quotes": (*_START, "ask_amount", "ask_price", "bid_price", "bid_amount"),
}
_COLUMNS: Final = {
    "trades": _BOTH | {"trade_id": "id", "side": "side", "price": "price", "quantity": "amount"},
    "quotes": _BOTH
    | {
        "ask_quantity": "ask_amount",
        "ask": "ask_price",
        "bid": "bid_price",
        "bid_quantity": "bid_amount",
    },
}
_SIDES: Final = {"buy": 1, "sell": -1, "unknown": 0}
# A column that only this data set has, which has no trades or top of the book in it.
_OTHERS: Final = {
    "is_snapshot": "incremental_book_L2",
    "funding_rate": "derivative_ticker",
    "strike_price": "options_chain",
    "asks[0].price": "book_snapshot",
}
_MICROSECONDS: Final = r"^[0-9]{16}$"


class TardisFormat:
    """Trades and quotes as Tardis.dev sells them."""

    name = "tardis"

    def recognise(self, sample: Sample, options: Options) -> list[Match]:
        """Recognise a header that is theirs; data sets without ticks are refused by name."""
        header = sample.header
        if header is None or tuple(header[:4]) != _START or maps_columns(options):
            return []
        other = next((name for column, name in _OTHERS.items() if column in header), None)
        if re.search(r"(^|[^a-z])liquidations([^a-z]|$)", str(sample.path)):
            other = "liquidations"
        if other is not None:
            raise InputRefused(
                f"{sample.path}: Tardis {other} are not ticks of a market",
                cure="import the trades, quotes or book_ticker data set",
            )
        return [
            Match(self.name, name, "its header") for name in _NAMES if _layout(name).fits(sample)
        ]

    def open(self, sample: Sample, match: Match | None, options: Options) -> TickFile:
        """Open it; without a match the header lacks a column."""
        layout = _layout("trades" if match is None else match.layout)
        if match is None:
            raise layout.refuse(sample)
        return open_layout(sample, layout, options)


FORMAT: Final = TardisFormat()


def _layout(name: str) -> Layout:
    return Layout(
        format=FORMAT.name,
        name=name,
        names=_NAMES[name],
        columns=_COLUMNS[name],
        sides=_SIDES,
        describe=_describe,
        shape=_shape,
        empty_book=name == "quotes",
        equal_times=True,
    )


def _describe(symbol: str, venue: str) -> Found:
    if venue == "binance-delivery":  # contracts of 100 USD on bitcoin, of 10 USD on the others
        size = "100" if symbol.upper().startswith("BTCUSD_") else "10"
        return Found(symbol, venue, "inverse", contract_size=size)
    return Found(symbol, venue, "perp" if venue == "binance-futures" else "spot")


def _shape(columns: Columns, place: Place) -> Columns:
    for name in ("ts_event", "ts_recv"):
        _require_microseconds(columns[name], place.of(name))
    venue_time = columns["ts_event"].cast(pa.string())
    equal = pc.equal(venue_time, columns["ts_recv"].cast(pa.string()))
    columns["ts_event"] = decimals.encode(
        pc.if_else(equal, pa.scalar(None, pa.string()), venue_time)
    )
    return columns


def _require_microseconds(texts: Any, place: Place) -> None:
    words = texts.dictionary
    if not len(words):
        return
    wrong = pc.invert(pc.match_substring_regex(words, _MICROSECONDS)).fill_null(False)
    hit = wrong.to_numpy(zero_copy_only=False)
    if hit.any():
        codes, valid = decimals.codes_of(texts)
        row = int(np.argmax(hit[codes] & valid))
        place.refuse(
            row, words[int(codes[row])].as_py(), "expected microseconds (16 digits)",
            "take the file again from Tardis, or --format csv with --map if it was changed",
        )  # fmt: skip
