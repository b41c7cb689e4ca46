"""Writers of the files other programs keep ticks in, from records of ours, as their sources say.

Each writes what its vendor or program writes, byte style included, and knows nothing of our
importers. Quantities of the tests are small enough that the floats some formats hold are exact.
"""

import datetime as dt
import gzip
import json
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq

from parity.model import ticks as flag
from parity.model.instruments import Instrument, InstrumentTable

UNDEF_PRICE = 2**63 - 1  # Databento: "there is no price"
FIXED = {8: 9, 16: 16}  # Nautilus: bytes of a fixed-point value -> its decimals
_PACK: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".zst": lambda data: bytes(pa.compress(data, codec="zstd", asbytes=True)),
}


def text(value: int, scale: int) -> str:
    """Return value / 10**scale as people print it: no exponent, no zeros at the end."""
    plain = f"{Decimal(int(value)).scaleb(-scale):f}"
    return plain.rstrip("0").rstrip(".") if "." in plain else plain


def write_rows(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> Path:
    """Write rows as CSV with LF, packed as the suffix says."""
    lines = [",".join(header), *(",".join(map(str, row)) for row in rows)]
    data = ("\n".join(lines) + "\n").encode()
    path.write_bytes(_PACK.get(path.suffix, bytes)(data))
    return path


def _each(records: Any, table: InstrumentTable) -> Iterable[tuple[Instrument, dict[str, int]]]:
    for row in records.tolist():
        record = dict(zip(records.dtype.names, row, strict=True))
        yield table.by_token(record["instrument_token"]), record


def _unless(record: Mapping[str, int], absent: int, value: object) -> object:
    return "" if record["flags"] & absent else value


# -- Tardis: microseconds, rows in local_timestamp order, an empty cell is absent

TARDIS_TRADES = ("exchange", "symbol", "timestamp", "local_timestamp")
TARDIS_TRADES += ("id", "side", "price", "amount")
TARDIS_QUOTES = ("exchange", "symbol", "timestamp", "local_timestamp")
TARDIS_QUOTES += ("ask_amount", "ask_price", "bid_price", "bid_amount")


def _tardis_times(record: Mapping[str, int]) -> tuple[int, int]:
    local = record["ts_recv"] // 1000
    # An exchange that gives no time is shown by two equal times.
    return (local if record["flags"] & flag.NO_VENUE_TIME else record["ts_event"] // 1000), local


def tardis_trades(path: Path, records: Any, table: InstrumentTable) -> Path:
    """Write a `trades` file."""
    sides = {1: "buy", -1: "sell", 0: "unknown"}
    rows = [
        (
            instrument.venue,
            instrument.symbol,
            *_tardis_times(record),
            _unless(record, flag.NO_TRADE_ID, record["trade_id"]),
            sides[record["side"]],
            text(record["price_int"], instrument.price_scale),
            text(record["quantity_int"], instrument.quantity_scale),
        )
        for instrument, record in _each(records, table)
    ]
    return write_rows(path, TARDIS_TRADES, rows)


def tardis_quotes(path: Path, records: Any, table: InstrumentTable) -> Path:
    """Write a `quotes` or `book_ticker` file."""
    rows = []
    for instrument, record in _each(records, table):
        cells = [
            _unless(record, absent, text(record[name], scale))
            for name, absent, scale in (
                ("ask_quantity_int", flag.NO_ASK_QUANTITY, instrument.quantity_scale),
                ("ask_int", flag.NO_ASK, instrument.price_scale),
                ("bid_int", flag.NO_BID, instrument.price_scale),
                ("bid_quantity_int", flag.NO_BID_QUANTITY, instrument.quantity_scale),
            )
        ]
        rows.append((instrument.venue, instrument.symbol, *_tardis_times(record), *cells))
    return write_rows(path, TARDIS_QUOTES, rows)


# -- Databento: prices are integers of 1e-9 or decimals, times ns or ISO 8601

DATABENTO_TRADES = ("ts_recv", "ts_event", "rtype", "publisher_id", "instrument_id", "action")
DATABENTO_TRADES += ("side", "depth", "price", "size", "flags", "ts_in_delta", "sequence")
DATABENTO_BOOK = ("bid_px_00", "ask_px_00", "bid_sz_00", "ask_sz_00", "bid_ct_00", "ask_ct_00")


def iso(ns: int) -> str:
    """Return ISO 8601 with nine decimals, in UTC."""
    seconds, rest = divmod(int(ns), 10**9)
    moment = dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(seconds=seconds)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"


def _databento_price(value: int, scale: int, absent: int, pretty: bool) -> object:
    if absent:
        return "" if pretty else UNDEF_PRICE
    raw = int(value) * 10 ** (9 - scale)
    return f"{Decimal(raw).scaleb(-9):.9f}" if pretty else raw


def _databento_row(
    instrument: Instrument, record: Mapping[str, int], *, book: bool, pretty: bool
) -> list[object]:
    flags, scale = record["flags"], instrument.price_scale
    trade = bool(flags & flag.TRADE)
    row: list[object] = [
        iso(record["ts_recv"]) if pretty else record["ts_recv"],
        iso(record["ts_event"]) if pretty else record["ts_event"],
        int(book),
        2,
        1000 + instrument.token % 7,  # one day's number
        "T" if trade else "A",
        {1: "B", -1: "A", 0: "N"}[record["side"]],
        0,
        # A book update carries the price of its order, which is no trade.
        _databento_price(record["price_int"] if trade else 10**scale, scale, 0, pretty),
        text(record["quantity_int"], instrument.quantity_scale) if trade else 5,
        128,
        165_000,
        77,
    ]
    if book:
        for name in ("bid", "ask"):
            absent = flags & flag.FLAG_NAMES[f"no_{name}"]
            row.append(_databento_price(record[f"{name}_int"], scale, absent, pretty))
        sizes = (record["bid_quantity_int"], record["ask_quantity_int"])
        row += [*(text(size, instrument.quantity_scale) for size in sizes), 1, 1]
    return [*row, instrument.symbol]


def databento(
    path: Path, records: Any, table: InstrumentTable, *, book: bool = False, pretty: bool = False
) -> Path:
    """Write a `trades` file, or with `book` an `mbp-1` file; `pretty` as the API prints it."""
    rows = [
        _databento_row(instrument, record, book=book, pretty=pretty)
        for instrument, record in _each(records, table)
    ]
    header = DATABENTO_TRADES + (DATABENTO_BOOK if book else ())
    return write_rows(path, (*header, "symbol"), rows)


# -- Databento's binary form: a header with the symbols of each day, then records of one size

DBN_SCHEMAS = {"mbo": 0, "mbp-1": 1, "tbbo": 3, "trades": 4, "ohlcv-1m": 6, "mbp-10": 2}
_DBN_SYMBOL_BYTES = {1: 22, 2: 71, 3: 71}


def dbn_header(
    symbols: Mapping[str, Sequence[tuple[int, int, object]]],
    *,
    schema: int,
    version: int = 3,
    by_id: bool = False,
    sent: bool = False,
) -> bytes:
    """Return the header of a DBN file.

    Args:
        symbols: symbol -> (first day, day after the last, instrument id), days as YYYYMMDD.
        schema: its number.
        version: 1, 2 or 3.
        by_id: as a request by instrument id is answered: the pairs the other way round.
        sent: whether records end with `ts_out`.
    """
    width = _DBN_SYMBOL_BYTES[version]

    def word(value: object) -> bytes:
        return str(value).encode().ljust(width, b"\0")

    body = b"GLBX.MDP3".ljust(16, b"\0") + struct.pack("<H", schema)
    body += struct.pack("<QQQ", START_DBN_NS, 2**64 - 1, 0)
    if version == 1:
        body += struct.pack("<Q", 2**64 - 1)  # a count that nobody kept
    body += bytes([0 if by_id else 1, 1 if by_id else 0, sent])
    if version > 1:
        body += struct.pack("<H", width)
    body = body.ljust(100, b"\0") + struct.pack("<I", 0)
    body += struct.pack("<I", len(symbols)) + b"".join(word(s) for s in symbols)
    body += struct.pack("<II", 0, 0)  # none found in part, none not found
    pairs = [(s, day) for s, days in symbols.items() for day in days]
    body += struct.pack("<I", len(pairs))
    for symbol, (start, end, number) in pairs:
        asked, answered = (number, symbol) if by_id else (symbol, number)
        body += word(asked) + struct.pack("<III", 1, start, end) + word(answered)
    if version == 3:
        body = body.ljust(-(-len(body) // 8) * 8, b"\0")
    return b"DBN" + struct.pack("<BI", version, len(body)) + body


def dbn_record(
    record: Mapping[str, int], instrument: Instrument, number: int, *, book: bool, sent: bool
) -> bytes:
    """Return a tick as the record of `trades` (48 bytes) or `mbp-1` (80)."""
    cells = _databento_row(instrument, record, book=book, pretty=False)
    size = 80 if book else 48
    absent = record["flags"] & flag.NO_VENUE_TIME
    made = struct.pack(
        "<BBHIQqI", (size + 8 * sent) // 4, int(book), 2, number,
        2**64 - 1 if absent else record["ts_event"], cells[8], int(str(cells[9])),
    )  # fmt: skip
    made += f"{cells[5]}{cells[6]}".encode() + struct.pack(
        "<BBQiI", 128, 0, record["ts_recv"], 165_000, 77
    )
    if book:
        made += struct.pack("<qqIIII", *(int(str(c)) for c in cells[13:19]))
    return made + (struct.pack("<Q", record["ts_recv"] + 5) if sent else b"")


START_DBN_NS = 1_600_000_000_000_000_000


def dbn(
    path: Path, records: Any, table: InstrumentTable, *, book: bool = False, **header: Any
) -> Path:
    """Write a `trades` or `mbp-1` file; `header` is `dbn_header`'s."""
    numbers = {i.token: 1000 + n for n, i in enumerate(table)}
    symbols = {i.symbol: [(20200101, 20300101, numbers[i.token])] for i in table}
    schema = DBN_SCHEMAS["mbp-1" if book else "trades"]
    data = dbn_header(symbols, **{"schema": schema, **header})
    for instrument, record in _each(records, table):
        number = numbers[instrument.token]
        sent = bool(header.get("sent"))
        data += dbn_record(record, instrument, number, book=book, sent=sent)
    path.write_bytes(_PACK.get(path.suffix, bytes)(data))
    return path


# -- FreqTrade: lists in column order, floats, milliseconds; the pair stands in the file's name

FREQTRADE = ("timestamp", "id", "type", "side", "price", "amount", "cost")


def freqtrade_rows(records: Any, instrument: Instrument) -> list[list[Any]]:
    """Return trades as FreqTrade holds them."""
    rows = []
    for _, record in _each(records, InstrumentTable([instrument])):
        price = float(text(record["price_int"], instrument.price_scale))
        amount = float(text(record["quantity_int"], instrument.quantity_scale))
        number = None if record["flags"] & flag.NO_TRADE_ID else str(record["trade_id"])
        side = {1: "buy", -1: "sell"}[record["side"]]
        rows.append(
            [record["ts_event"] // 10**6, number, None, side, price, amount, price * amount]
        )
    return rows


def freqtrade(path: Path, rows: Sequence[Sequence[Any]], *, chunk: int | None = None) -> Path:
    """Write rows as `.feather`, `.parquet`, `.json` or `.json.gz`."""
    if path.suffix in (".json", ".gz"):
        path.write_bytes(_PACK.get(path.suffix, bytes)(json.dumps(rows).encode()))
        return path
    kinds = (pa.int64(), pa.string(), pa.string(), pa.string(), *[pa.float64()] * 3)
    columns = zip(*rows, strict=True) if rows else [()] * len(FREQTRADE)
    arrays = [pa.array(c, k) for c, k in zip(columns, kinds, strict=True)]
    table = pa.table(arrays, names=list(FREQTRADE))
    if path.suffix == ".parquet":
        pq.write_table(table, path)
    else:
        feather.write_feather(table, str(path), compression="lz4", chunksize=chunk)
    return path


# -- NautilusTrader: a catalog's Parquet, in the fixed-point form of 2025 and in the decimal one


def _nautilus_values(values: Iterable[int], scale: int, width: int | None) -> Any:
    if width is None:
        decimals = [Decimal(int(v)).scaleb(-scale) for v in values]
        return pa.array(decimals, pa.decimal128(38, 16))
    factor = 10 ** (FIXED[width] - scale)
    raw = [(int(v) * factor).to_bytes(width, "little", signed=True) for v in values]
    return pa.array(raw, pa.binary(width))


def _nautilus_times(values: Any, width: int | None) -> Any:
    if width is None:
        return pa.array(values.tolist(), pa.timestamp("ns", "UTC"))
    return pa.array(values.tolist(), pa.uint64())


def nautilus(
    path: Path, records: Any, instrument: Instrument, *, width: int | None, named: bool = True
) -> Path:
    """Write TradeTick or QuoteTick rows of one instrument.

    Args:
        path: the file.
        records: trades, or quotes.
        instrument: its symbol and venue make the instrument id, its scales the precisions.
        width: bytes of a fixed-point value (8 or 16), or None for the schema of Decimal128.
        named: whether the metadata (or the identifier column) names the instrument; else only
            the folder does.
    """
    name = f"{instrument.symbol}.{instrument.venue}"
    price, size = instrument.price_scale, instrument.quantity_scale
    columns: dict[str, Any] = {}
    if len(records) == 0 or records["flags"][0] & flag.TRADE:
        columns["price"] = _nautilus_values(records["price_int"], price, width)
        columns["size"] = _nautilus_values(records["quantity_int"], size, width)
        words = ["NO_AGGRESSOR", "BUY", "SELL"]
        codes = pa.array([{0: 0, 1: 1, -1: 2}[s] for s in records["side"].tolist()], pa.uint8())
        columns["aggressor_side"] = (
            pa.DictionaryArray.from_arrays(codes.cast(pa.int8()), words) if width is None else codes
        )
        columns["trade_id"] = pa.array([str(i) for i in records["trade_id"].tolist()], pa.string())
    else:
        for side in ("bid", "ask"):
            columns[f"{side}_price"] = _nautilus_values(records[f"{side}_int"], price, width)
        for side in ("bid", "ask"):
            columns[f"{side}_size"] = _nautilus_values(records[f"{side}_quantity_int"], size, width)
    columns["ts_event"] = _nautilus_times(records["ts_event"], width)
    columns["ts_init"] = _nautilus_times(records["ts_recv"], width)
    metadata = {"price_precision": str(price), "size_precision": str(size)}
    if width is None and named:
        columns["identifier"] = pa.array([name] * len(records), pa.string())
    elif named:
        metadata["instrument_id"] = name
    pq.write_table(pa.table(columns).replace_schema_metadata(metadata), path)
    return path


# -- Kite: the Python client's tick dict, one a line, or a list of dicts a line

_OLD_KEYS = {
    "last_traded_quantity": "last_quantity",
    "average_traded_price": "average_price",
    "volume_traded": "volume",
    "total_buy_quantity": "buy_quantity",
    "total_sell_quantity": "sell_quantity",
    "exchange_timestamp": "timestamp",
}


def kite(
    path: Path, ticks: Sequence[Mapping[str, Any]], *, old: bool = False, at_once: int = 0
) -> Path:
    """Write ticks as JSON lines.

    Args:
        path: the file.
        ticks: the client's dicts, times as the text of naive local datetimes.
        old: use the keys of client versions before 4.
        at_once: 0 writes a dict a line, n a list of n dicts a line (what `on_ticks` is given).
    """
    names = _OLD_KEYS if old else {}
    plain = [{names.get(k, k): v for k, v in tick.items()} for tick in ticks]
    groups: list[Any] = plain
    if at_once:
        groups = [plain[n : n + at_once] for n in range(0, len(plain), at_once)]
    path.write_text("".join(json.dumps(g) + "\n" for g in groups), "utf-8")
    return path
