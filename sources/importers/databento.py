"""Databento files of the schemas trades, mbp-1 and tbbo: CSV here, binary DBN in `dbn`.

Prices are integers of 1e-9 or decimals (`pretty_px`), times ns or ISO 8601 (`pretty_ts`). A row is
a trade where its action is T, and only there; the other rows of mbp-1 are changes of the best bid
and ask. instrument_id means something else every day, so that rows are known by their symbol.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as typed_pc

from parity.model.errors import InputRefused
from parity.sources.importers import decimals
from parity.sources.importers.csv import maps_columns, open_layout
from parity.sources.importers.dbn import DbnTickFile
from parity.sources.importers.dbn_header import layout_of
from parity.sources.importers.formats import Match
from parity.sources.importers.layouts import Layout
from parity.sources.importers.tables import Found

if TYPE_CHECKING:
    from parity.sources.importers.formats import Options
    from parity.sources.importers.layouts import Columns
    from parity.sources.importers.sample import Sample
    from parity.sources.importers.tables import Mask, Place, TickFile

pc: Any = typed_pc  # its stubs refuse plain Python scalars, which it takes

_START: Final = ("ts_recv", "ts_event", "rtype", "publisher_id", "instrument_id")
_TRADES: Final = (
    *_START, "action", "side", "depth", "price", "size", "flags", "ts_in_delta", "sequence",
)  # fmt: skip
_BOOK: Final = ("bid_px_00", "ask_px_00", "bid_sz_00", "ask_sz_00", "bid_ct_00", "ask_ct_00")
_NAMES: Final = {"trades": _TRADES, "mbp-1": _TRADES + _BOOK}
_TICK: Final = {
    "ts_recv": "ts_recv",
    "ts_event": "ts_event",
    "action": "action",
    "side": "side",
    "price": "price",
    "quantity": "size",
    "symbol": "symbol",
}
_QUOTE: Final = {
    "bid": "bid_px_00",
    "ask": "ask_px_00",
    "bid_quantity": "bid_sz_00",
    "ask_quantity": "ask_sz_00",
}
_COLUMNS: Final = {"trades": _TICK, "mbp-1": _TICK | _QUOTE}
_PRICES: Final = ("price", "bid", "ask")
_SIDES: Final = {"B": 1, "A": -1, "N": 0}
_ACTIONS: Final = frozenset("TAMCRFN")  # trade, add, modify, cancel, clear, fill, none
_UNDEF_PRICE: Final = str(2**63 - 1)
_UNDEF_TIME: Final = str(2**64 - 1)
# A column that only this schema has.
_OTHERS: Final = {"order_id": "mbo", "bid_px_01": "mbp-10", "bid_pb_00": "cmbp-1"}


class DatabentoFormat:
    """Trades and top of the book as Databento delivers them."""

    name = "databento"

    def recognise(self, sample: Sample, options: Options) -> list[Match]:
        """Recognise a header that is theirs; schemas without ticks are refused by name."""
        if sample.kind == "dbn":
            return [Match(self.name, layout_of(sample), f"DBN version {sample.start[3]}")]
        header = sample.header
        if header is None or "publisher_id" not in header or maps_columns(options):
            return []
        other = next((name for column, name in _OTHERS.items() if column in header), None)
        if other is None and "action" not in header and "bid_px_00" in header:
            other = "bbo"
        if other is not None:
            raise InputRefused(
                f"{sample.path}: Databento schema {other} is not imported",
                cure="request trades, mbp-1 or tbbo",
            )
        fits = [name for name in _NAMES if _layout(name, sample).fits(sample)]
        # mbp-1 has the columns of trades and more.
        return [Match(self.name, name, "its header") for name in fits[-1:]]

    def open(self, sample: Sample, match: Match | None, options: Options) -> TickFile:
        """Open it; rows must bear their symbol, or be of the one instrument that was given."""
        if sample.kind == "dbn":
            return DbnTickFile(sample, options)
        layout = _layout("trades" if match is None else match.layout, sample)
        if match is None:
            raise layout.refuse(sample)
        one = options.given is not None and len(options.given) == 1
        if "symbol" not in (sample.header or ()) and "symbol" not in options.columns and not one:
            raise InputRefused(
                f"{sample.path}: no column symbol, and an instrument_id is good for one day only",
                cure="request it with map_symbols, run databento's map_symbols_csv over it, or say "
                "--map symbol==ESH5 where the file is of one instrument",
            )
        return open_layout(sample, layout, options)


FORMAT: Final = DatabentoFormat()


def _layout(name: str, sample: Sample) -> Layout:
    return Layout(
        format=FORMAT.name,
        name=name,
        names=(*_NAMES[name], "ts_out", "symbol"),
        columns=_COLUMNS[name],
        optional=frozenset(("ts_out", "symbol")),
        sides=_SIDES,
        describe=Found,
        shape=partial(_shape, pretty=_pretty(sample)),
        empty_book=name == "mbp-1",
    )


def _pretty(sample: Sample) -> bool:
    """Return whether the first price has a point; the rest of the file is held to it."""
    header = sample.header
    if header is None or "price" not in header:
        return False
    at = header.index("price")
    prices = [row[at] for row in sample.data if len(row) > at]
    first = next((price for price in prices if price not in ("", _UNDEF_PRICE)), "")
    return "." in first


def _shape(columns: Columns, place: Place, *, pretty: bool) -> Columns:
    for name in ("ts_recv", "ts_event"):
        columns[name] = _absent(columns[name], _UNDEF_TIME)
        _require(
            columns[name],
            r"^([0-9]{19}|[0-9]{4}-.*)$",
            place.of(name),
            "expected nanoseconds (19 digits) or ISO 8601",
            "take the file again from Databento",
        )
    for name in _PRICES:
        if name in columns:
            columns[name] = _price(columns[name], place.of(name), pretty)
    trade = _trades(columns.pop("action"), place.of("action"), book="bid" in columns)
    for name in ("price", "quantity", "side"):
        if not trade.all():
            # Size and price of a book update are those of an order.
            columns[name] = _where(trade, columns[name])
    return columns


def _trades(actions: Any, place: Place, *, book: bool) -> Mask:
    words = actions.dictionary.to_pylist()
    codes, valid = decimals.codes_of(actions)
    known = _ACTIONS if book else frozenset("T")
    good = np.array([w in known for w in words] or [False])[codes] & valid
    if not good.all():
        row = int(np.argmin(good))
        place.refuse(
            row,
            words[int(codes[row])] if valid[row] else "",
            "expected T, A, M, C, R, F or N" if book else "expected T, as every trade has",
            "take the file again from Databento",
        )
    return np.asarray(np.array([w == "T" for w in words])[codes])


def _price(texts: Any, place: Place, pretty: bool) -> Any:
    """Return prices as decimals, null where there is none."""
    texts = _absent(texts, _UNDEF_PRICE)
    pattern, form = (r"\.", "decimals") if pretty else (r"^-?[0-9]+$", "integers of 1e-9")
    _require(
        texts,
        pattern,
        place,
        f"expected {form}, as the prices above it",
        "take the file again from Databento, all of it with or all without pretty_px",
    )
    if pretty or not len(texts.dictionary):
        return texts
    words = texts.dictionary
    minus = pc.if_else(pc.starts_with(words, "-"), "-", "")
    digits = pc.utf8_lpad(pc.utf8_ltrim(words, "-"), 10, "0")
    whole = pc.utf8_slice_codeunits(digits, 0, -9)
    part = pc.utf8_slice_codeunits(digits, -9)
    shifted = pc.binary_join_element_wise(pc.binary_join_element_wise(minus, whole, ""), part, ".")
    return decimals.encode(pa.DictionaryArray.from_arrays(texts.indices, shifted))


def _absent(texts: Any, word: str) -> Any:
    words = texts.dictionary
    kept = pc.if_else(pc.equal(words, word), pa.scalar(None, pa.string()), words)
    return pa.DictionaryArray.from_arrays(texts.indices, kept)


def _where(keep: Mask, texts: Any) -> Any:
    indices = pc.if_else(pa.array(keep), texts.indices, pa.scalar(None, texts.indices.type))
    return pa.DictionaryArray.from_arrays(indices, texts.dictionary)


def _require(texts: Any, pattern: str, place: Place, problem: str, cure: str) -> None:
    words = texts.dictionary
    if not len(words):
        return
    wrong = pc.invert(pc.match_substring_regex(words, pattern)).fill_null(False)
    hit = wrong.to_numpy(zero_copy_only=False)
    codes, valid = decimals.codes_of(texts)
    if (hit[codes] & valid).any():
        row = int(np.argmax(hit[codes] & valid))
        place.refuse(row, words[int(codes[row])].as_py(), problem, cure)
