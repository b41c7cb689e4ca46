"""Ticks of Zerodha's Kite client, a dict or a list of dicts a line (JSONL).

They are snapshots about a second apart, not trades: no side, `volume` is the day's so far. Times
are naive in the zone of the machine that received them, so --tz is needed; ltp and quote mode
carry none at all, and such ticks need a `ts_recv` of their recorder. Both generations of keys are
read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import msgspec
import pyarrow as pa

from parity.model.errors import InputRefused
from parity.model.extensions import Extension
from parity.sources.codecs.exact import shortest_text
from parity.sources.codecs.market_tick import KITE, LEVELS
from parity.sources.importers import decimals
from parity.sources.importers.formats import Match
from parity.sources.importers.sample import UNPACKING_ERRORS
from parity.sources.importers.tables import Found, NamesWithLines, Place, other_names
from parity.sources.importers.texts import TextTickFile
from parity.sources.importers.times import parse_times

if TYPE_CHECKING:
    from parity.sources.importers.formats import Options
    from parity.sources.importers.layouts import Columns
    from parity.sources.importers.sample import Sample

_BLOCK_ROWS: Final = 4096
_LINE_BYTES_MAX: Final = 16 << 20  # 3 000 ticks of full mode are 5 MB
# our column -> the client's key, now and before version 4
_KEYS: Final = {
    "ts_event": ("exchange_timestamp", "timestamp"),
    "quantity": ("last_traded_quantity", "last_quantity"),
    "volume": ("volume_traded", "volume"),
    "open_interest": ("oi",),
    "average_price": ("average_traded_price", "average_price"),
    "last_trade_time": ("last_trade_time",),
    "total_buy_quantity": ("total_buy_quantity", "buy_quantity"),
    "total_sell_quantity": ("total_sell_quantity", "sell_quantity"),
    "open_interest_day_high": ("oi_day_high",),
    "open_interest_day_low": ("oi_day_low",),
}
_NAMES: Final = other_names({"price": "last_price"} | {k: v[0] for k, v in _KEYS.items()}, "key")
_OHLC: Final = ("open", "high", "low", "close")
_ALWAYS: Final = (
    "instrument_token", "ts_event", "ts_recv", "price", "quantity", "volume", "open_interest",
    "bid", "ask", "bid_quantity", "ask_quantity", "flags",
)  # fmt: skip
# token & 0xff -> exchange, kind, decimals of its prices; the cash segments have two
_SEGMENTS: Final = {
    1: ("NSE", "equity", 2), 2: ("NFO", "future", 2), 3: ("CDS", "future", 7),
    4: ("BSE", "equity", 2), 5: ("BFO", "future", 2), 6: ("BCD", "future", 4),
    7: ("MCX", "future", 2), 8: ("MCXSX", "future", 2), 9: ("INDICES", "index", 2),
}  # fmt: skip

Tick = dict[str, Any]


class KiteFormat:
    """Tick dicts of the Kite client as JSON lines."""

    name = "kite"

    def recognise(self, sample: Sample, options: Options) -> list[Match]:
        """Recognise instrument_token and last_price in the first line."""
        if sample.kind != "json":
            return []
        line = sample.start.lstrip().partition(b"\n")[0]
        if b'"instrument_token"' in line and b'"last_price"' in line:
            return [Match(self.name, "snapshots", "keys of the client's ticks")]
        return []

    def open(self, sample: Sample, match: Match | None, options: Options) -> TextTickFile:
        """Open it; the columns beyond the tick's own are those that occur in the file."""
        if match is None:
            raise InputRefused(
                f"{sample.path}: the first line is no tick of the Kite client",
                cure='write a dict with "instrument_token" and "last_price" a line, or a list of '
                "them; docs/import/kite.md shows both",
            )
        reader = _Reader(sample, options.tz)
        extensions = reader.extensions()
        return TextTickFile(
            sample.path,
            self.name,
            match.layout,
            reader.blocks,
            frozenset((*_ALWAYS, *(e.name for e in extensions))),
            tz=options.tz,
            given=options.given,
            grows=options.grows,
            describe=_describe,
            names=NamesWithLines(_NAMES, reader.line_of),
            extensions=extensions,
        )


FORMAT: Final = KiteFormat()


def _describe(symbol: str, venue: str) -> Found:
    segment = _SEGMENTS.get(int(symbol) & 0xFF if symbol.isdigit() else 0)
    if segment is None:
        return Found(symbol, venue, price_scale=2)
    return Found(symbol, *segment[:2], price_scale=segment[2])


class _Reader:
    """Reads blocks of ticks as columns of text in our names."""

    def __init__(self, sample: Sample, tz: str | None) -> None:
        self._sample, self._tz = sample, tz
        self._names: tuple[str, ...] = ()

    def extensions(self) -> tuple[Extension, ...]:
        """Return the extension columns that the modes in the file have."""
        found: set[str] = set()
        for _, tick in self._ticks():
            if "ohlc" in tick:
                found.update(_OHLC)
            if "depth" in tick:
                found.update(name for name in KITE if name[:4] in ("bid_", "ask_"))
            found.update(
                ours
                for ours, keys in _KEYS.items()
                if ours in KITE and any(k in tick for k in keys)
            )
        self._names = tuple(name for name in KITE if name in found)
        return tuple(Extension(name, KITE[name]) for name in self._names)

    def blocks(self) -> Iterator[tuple[int, Columns]]:
        """Yield (ticks before, columns) block by block."""
        ticks = self._ticks()
        first_row = 0
        while some := list(islice(ticks, _BLOCK_ROWS)):
            yield first_row, self._block(some, first_row)
            first_row += len(some)

    def line_of(self, row: int) -> int:
        """Return the line of a tick, counted from 1, by reading up to it again."""
        return next(islice((line for line, _ in self._ticks()), row - 1, None))

    def _block(self, some: list[tuple[int, Tick]], first_row: int) -> Columns:
        rows = [self._row(line, tick) for line, tick in some]
        columns = {
            name: decimals.encode(pa.array([row.get(name) for row in rows], pa.string()))
            for name in (*_ALWAYS, *self._names)
        }
        if "last_trade_time" in columns:
            names = NamesWithLines({}, self.line_of)
            place = Place(self._sample.path, "last_trade_time", first_row, names)
            values, valid = parse_times(columns["last_trade_time"], self._tz, place)
            texts = pa.array([str(v) for v in values.tolist()], mask=~valid)
            columns["last_trade_time"] = decimals.encode(texts)
        return columns

    def _ticks(self) -> Iterator[tuple[int, Tick]]:
        """Yield (line, tick)."""
        number = 0
        try:
            with self._sample.open() as file:
                while line := file.readline(_LINE_BYTES_MAX):
                    number += 1
                    if line.strip():
                        yield from self._of_line(line, number)
        except UNPACKING_ERRORS as error:
            raise self._sample.unreadable(error) from None

    def _of_line(self, line: bytes, number: int) -> Iterator[tuple[int, Tick]]:
        try:
            found = msgspec.json.decode(line)
        except msgspec.DecodeError as error:
            raise self._refusal(number, "", f"expected JSON ({error})", line[:60]) from None
        for tick in found if isinstance(found, list) else [found]:
            if not isinstance(tick, dict):
                raise self._refusal(number, "", "expected a dict, or a list of dicts", tick)
            yield number, tick

    def _row(self, line: int, tick: Tick) -> dict[str, str | None]:
        def number(key: str, value: Any) -> str | None:
            if value is not None and (
                isinstance(value, bool) or not isinstance(value, int | float)
            ):
                raise self._refusal(line, key, "expected a number", value)
            return None if value is None else shortest_text(value)

        token = tick.get("instrument_token")
        if not isinstance(token, int) or isinstance(token, bool):
            raise self._refusal(line, "instrument_token", "expected an integer", token)
        row = {
            "instrument_token": str(token),
            "price": number("last_price", tick.get("last_price")),
            "flags": "index" if token & 0xFF == 9 else "snapshot",
            "ts_recv": self._time(line, "ts_recv", tick.get("ts_recv")),
        }
        if row["price"] is None:
            raise self._refusal(line, "last_price", "expected a number", None)
        for ours, keys in _KEYS.items():
            key = next((k for k in keys if k in tick), keys[0])
            timed = ours in ("ts_event", "last_trade_time")
            row[ours] = (self._time(line, key, tick.get(key)) if timed
                         else number(key, tick.get(key)))  # fmt: skip
        if row["ts_event"] is None and row["ts_recv"] is None:
            raise self._refusal(
                line, "exchange_timestamp", "expected a time, which ltp and quote mode lack", None,
                cure='record in full mode, or add "ts_recv" (ns) to each tick as it arrives',
            )  # fmt: skip
        ohlc = self._part(line, tick, "ohlc", dict)
        row |= {name: number(f"ohlc.{name}", ohlc.get(name)) for name in _OHLC}
        return row | self._depth(line, tick, number)

    def _depth(
        self, line: int, tick: Tick, number: Callable[[str, Any], str | None]
    ) -> dict[str, str | None]:
        found: dict[str, str | None] = {}
        depth = self._part(line, tick, "depth", dict)
        for side, theirs in (("bid", "buy"), ("ask", "sell")):
            levels = self._part(line, depth, f"depth.{theirs}", list)
            for n, level in enumerate(levels[:LEVELS], start=1):
                if not isinstance(level, dict):
                    raise self._refusal(line, f"depth.{theirs}", "expected dicts", level)
                names = (("", "price"), ("_quantity", "quantity"), ("_orders", "orders"))
                texts = {w: number(f"depth.{theirs}.{k}", level.get(k)) for w, k in names}
                if float(texts[""] or 0) == 0:
                    continue  # zeros are how the vendor says that there is no such level
                found |= {f"{side}{what}_{n}": text for what, text in texts.items()}
                if n == 1:
                    found |= {side: texts[""], f"{side}_quantity": texts["_quantity"]}
        return found

    def _part(self, line: int, tick: Tick, key: str, kind: type) -> Any:
        found = tick.get(key.rpartition(".")[2])
        if found is None:
            return kind()
        if not isinstance(found, kind):
            raise self._refusal(line, key, f"expected a {kind.__name__}", found)
        return found

    def _time(self, line: int, key: str, value: Any) -> str | None:
        if value is None or (isinstance(value, str) and value):
            return value
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        raise self._refusal(line, key, "expected a time", value)

    def _refusal(
        self, line: int, key: str, problem: str, value: Any, *, cure: str = "mend or drop that tick"
    ) -> InputRefused:
        where = f"{key}: " if key else ""
        return InputRefused(
            f"{self._sample.path}: line {line}: {where}{problem}, was {value!r}", cure=cure
        )
