"""The header of Databento's binary files: version, schema, and what each instrument_id stands for.

An instrument_id is good for a day, so that the header lists for each symbol which id it had from
which day to which. Reads nothing behind the header.
"""

from __future__ import annotations

import datetime as dt
import struct
from typing import IO, TYPE_CHECKING, Final

import msgspec

from parity.model.errors import InputRefused

if TYPE_CHECKING:
    from parity.sources.importers.sample import Sample

VERSIONS: Final = (1, 2, 3)
START_BYTES: Final = 26  # up to and with the schema, in these versions
CSV_CURE: Final = "write it as CSV first: dbn FILE --csv --map-symbols > FILE.csv, or to_csv()"
_CURE: Final = "take the file again from Databento"
# By number. What is no trade and no top of the book is refused by its name.
_SCHEMAS: Final = (
    "mbo", "mbp-1", "mbp-10", "tbbo", "trades", "ohlcv-1s", "ohlcv-1m", "ohlcv-1h", "ohlcv-1d",
    "definition", "statistics", "status", "imbalance", "ohlcv-eod", "cmbp-1", "cbbo-1s",
    "cbbo-1m", "tcbbo", "bbo-1s", "bbo-1m",
)  # fmt: skip
_MIXED: Final = 0xFFFF  # a live session may write records of several schemas
_LAYOUTS: Final = {"trades": "trades", "mbp-1": "mbp-1", "tbbo": "mbp-1"}
_BY_ID: Final = 0  # asked for by instrument id: the pairs stand the other way round
_FIXED_BYTES: Final = 100
_SYMBOL_BYTES: Final = 22  # in version 1; later ones say it
_EPOCH: Final = dt.date(1970, 1, 1).toordinal()


class SymbolDays(msgspec.Struct, frozen=True):
    """A symbol that an instrument id stood for on the days [start, end), counted from 1970."""

    start: int
    end: int
    symbol: str


class Header(msgspec.Struct, frozen=True):
    """What a file says of itself.

    Args:
        layout: "trades" or "mbp-1" (which tbbo has, too).
        sent: whether each record ends with the time it was sent at.
        symbols: instrument id -> what it stood for, and when.
    """

    version: int
    layout: str
    sent: bool
    symbols: dict[int, list[SymbolDays]]


def layout_of(sample: Sample) -> str:
    """Return the layout of a file that begins with DBN.

    Raises:
        InputRefused: a version or a schema that is not read; bars with that word.
    """
    start = sample.start
    if len(start) < START_BYTES:
        raise InputRefused(
            f"{sample.path}: the DBN header is cut after {len(start)} bytes", cure=_CURE
        )
    version = start[3]
    if version not in VERSIONS:
        raise InputRefused(
            f"{sample.path}: DBN version {version} is not read here, only 1, 2 and 3", cure=CSV_CURE
        )
    (number,) = struct.unpack_from("<H", start, START_BYTES - 2)
    if number == _MIXED:
        raise InputRefused(
            f"{sample.path}: DBN of a live session, whose records are of several kinds",
            cure=f"{CSV_CURE}; or request the historical schema trades, mbp-1 or tbbo",
        )
    schema = _SCHEMAS[number] if number < len(_SCHEMAS) else f"number {number}"
    if schema.startswith("ohlcv"):
        raise InputRefused(
            f"{sample.path}: Databento schema {schema}: these are bars, and bars are not ticks",
            cure="request trades, mbp-1 or tbbo",
        )
    if schema not in _LAYOUTS:
        raise InputRefused(
            f"{sample.path}: Databento schema {schema} is not imported",
            cure="request trades, mbp-1 or tbbo",
        )
    return _LAYOUTS[schema]


def read_header(sample: Sample, file: IO[bytes]) -> Header:
    """Read the header of an open file, which stands at its first record afterwards."""
    begin = file.read(8)
    length = int.from_bytes(begin[4:8], "little")
    body = file.read(length)
    if len(body) != length or length < _FIXED_BYTES:
        raise InputRefused(
            f"{sample.path}: expected a DBN header of {length} bytes, found {len(body)}",
            cure=_CURE,
        )
    try:
        return _parse(begin[3], layout_of(sample), body)
    except (struct.error, ValueError, UnicodeDecodeError) as error:
        raise InputRefused(
            f"{sample.path}: the DBN header cannot be read ({error})", cure=_CURE
        ) from None


def _parse(version: int, layout: str, body: bytes) -> Header:
    # dataset 16, schema 2, start 8, end 8, limit 8, in version 1 a count of 8; then what follows
    at = 50 if version == 1 else 42
    asked, _, sent = body[at : at + 3]
    width = _SYMBOL_BYTES
    if version > 1:
        (width,) = struct.unpack_from("<H", body, at + 3)
    fields = _Fields(body, _FIXED_BYTES, width)
    if fields.number():
        raise ValueError("it declares a schema of its own")
    for _ in range(3):  # symbols asked for, found in part, not found
        for _ in range(fields.number()):
            fields.text()
    symbols: dict[int, list[SymbolDays]] = {}
    for _ in range(fields.number()):
        _add_symbol(symbols, fields, inverse=asked == _BY_ID)
    return Header(version, layout, bool(sent), symbols)


def _add_symbol(symbols: dict[int, list[SymbolDays]], fields: _Fields, *, inverse: bool) -> None:
    name = fields.text()
    for _ in range(fields.number()):
        start, end, other = fields.day(), fields.day(), fields.text()
        number, symbol = (name, other) if inverse else (other, name)
        if number.isdigit() and symbol:  # an empty one was not resolved on those days
            symbols.setdefault(int(number), []).append(SymbolDays(start, end, symbol))


class _Fields:
    """Reads the part of a header whose length varies."""

    def __init__(self, body: bytes, at: int, width: int) -> None:
        self._body, self._at, self._width = body, at, width

    def number(self) -> int:
        (found,) = struct.unpack_from("<I", self._body, self._at)
        self._at += 4
        return int(found)

    def text(self) -> str:
        raw = self._body[self._at : self._at + self._width]
        if len(raw) < self._width:
            raise ValueError("a symbol is cut")
        self._at += self._width
        return raw.partition(b"\0")[0].decode("ascii")

    def day(self) -> int:
        """A date written as the number YYYYMMDD, as days since 1970."""
        number = self.number()
        day = dt.date(number // 10_000, number // 100 % 100, number % 100)
        return day.toordinal() - _EPOCH
