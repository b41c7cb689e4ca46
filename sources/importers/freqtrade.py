"""Trades that FreqTrade downloaded: `BTC_USDT-trades` as .feather, .parquet, .json or .json.gz.

Prices are floats, taken at their shortest decimal; times are ms. The cost is left out: it is price
times amount, rounded. The pair stands in the file's name only: two parts are spot, a third one is
what a future settles in.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from parity.model.errors import InputRefused
from parity.sources.codecs.exact import shortest_text
from parity.sources.importers import decimals
from parity.sources.importers.formats import Match
from parity.sources.importers.sample import UNPACKING_ERRORS
from parity.sources.importers.tables import BATCH_ROWS, BATCH_ROWS_MIN, Found, Place, other_names
from parity.sources.importers.texts import TextTickFile
from parity.sources.importers.vendors import instants

if TYPE_CHECKING:
    from parity.sources.importers.formats import Options
    from parity.sources.importers.layouts import Columns
    from parity.sources.importers.sample import Sample
    from parity.sources.importers.shares import Shares

_ORDER: Final = ("timestamp", "id", "type", "side", "price", "amount", "cost")
_COLUMNS: Final = {
    "timestamp": "ts_event",
    "id": "trade_id",
    "side": "side",
    "price": "price",
    "amount": "quantity",
}
_NAMES: Final = other_names({ours: theirs for theirs, ours in _COLUMNS.items()})
_SIDES: Final = {"buy": 1, "sell": -1}
_TRADES: Final = re.compile(r"^(?P<pair>\w+?)(?P<expiry>-\d{6})?-trades$")
_BARS: Final = re.compile(r"-\d+[a-zA-Z]{1,2}(-\w+)?$")
_CHUNK_BYTES: Final = 4 << 20


class FreqtradeFormat:
    """Trades as FreqTrade stores them."""

    name = "freqtrade"

    def recognise(self, sample: Sample, options: Options) -> list[Match]:
        """Recognise the columns of Arrow files, lists named …-trades of JSON; refuse bars."""
        if sample.kind == "json":
            lists = sample.start.lstrip()[:1] == b"["
            if lists and _BARS.search(sample.stem):
                raise InputRefused(
                    f"{sample.path}: these are bars by their name, and bars are not ticks",
                    cure="import the trades: freqtrade download-data --dl-trades",
                )
            fits = lists and _TRADES.match(sample.stem)
            return [Match(self.name, "trades", f"lists, named {sample.name}")] if fits else []
        if sample.schema is not None and set(_ORDER) <= set(sample.schema.names):
            return [Match(self.name, "trades", "its columns")]
        return []

    def open(self, sample: Sample, match: Match | None, options: Options) -> TextTickFile:
        """Open it; the pair is what the file's name, or --map, says."""
        if match is None and sample.kind != "json":
            shown = sample.kind if sample.schema is None else ", ".join(sample.schema.names)
            raise InputRefused(
                f"{sample.path}: not trades of FreqTrade ({shown})",
                cure=f"expected columns {', '.join(_ORDER)}; docs/import/freqtrade.md shows them",
            )
        reader = _Reader(sample, options.shares)
        return TextTickFile(
            sample.path,
            self.name,
            "trades",
            reader.blocks,
            frozenset(_COLUMNS.values()),
            given=options.given,
            grows=options.grows,
            sides=_SIDES,
            describe=_describe,
            only=_only(sample, options),
            names=_NAMES,
        )


FORMAT: Final = FreqtradeFormat()


def _only(sample: Sample, options: Options) -> tuple[str, str] | None:
    venue = options.columns.get("venue", "").removeprefix("=")
    symbol = options.columns.get("symbol", "").removeprefix("=")
    if symbol:
        return venue, symbol
    named = _TRADES.match(sample.stem)
    parts = named["pair"].split("_") if named else []
    if named is None or len(parts) not in (2, 3) or not all(parts):
        if options.given is not None and len(options.given) == 1:
            return None
        raise InputRefused(
            f"{sample.path}: the name says no pair (expected BTC_USDT-trades or "
            "BTC_USDT_USDT-trades)",
            cure="say it: --map symbol==BTC/USDT",
        )
    settled = f":{parts[2]}{named['expiry'] or ''}" if len(parts) == 3 else ""
    return venue, f"{parts[0]}/{parts[1]}{settled}"


def _describe(symbol: str, venue: str) -> Found:
    pair, _, settled = symbol.partition(":")
    if not settled:
        return Found(symbol, venue)
    currency, dash, _ = settled.partition("-")
    if currency == pair.partition("/")[0]:
        return Found(symbol, venue, "inverse")
    return Found(symbol, venue, "future" if dash else "perp")


class _Reader:
    """Reads blocks of a file as columns of text in our names."""

    def __init__(self, sample: Sample, shares: Shares) -> None:
        self._sample, self._shares = sample, shares

    def blocks(self) -> Iterator[tuple[int, Columns]]:
        """Yield (rows before, columns) block by block."""
        kinds: dict[str, Callable[[], Iterator[Any]]] = {
            "parquet": self._of_parquet, "arrow": self._of_feather, "json": self._of_json,
        }  # fmt: skip
        first_row = 0
        for batch in kinds[self._sample.kind]():
            for at, rows in self._shares.slices(batch, BATCH_ROWS, BATCH_ROWS_MIN):
                place = Place(self._sample.path, "", first_row + at, _NAMES)
                yield first_row + at, self._block(rows, place)
            first_row += len(batch)

    def _block(self, batch: Any, place: Place) -> Columns:
        found: Columns = {}
        for theirs, ours in _COLUMNS.items():
            column, there = batch.column(theirs), place.of(ours)
            if ours == "ts_event":
                found[ours] = instants(column, there, "ms")
            else:
                found[ours] = decimals.encode(column.cast(pa.string()))
        return found

    def _of_parquet(self) -> Iterator[Any]:
        with pq.ParquetFile(self._sample.path, pre_buffer=False) as file:
            yield from file.iter_batches(BATCH_ROWS, columns=[*_COLUMNS], use_threads=False)

    def _of_feather(self) -> Iterator[Any]:
        with pa.memory_map(str(self._sample.path)) as mapped, pa.ipc.open_file(mapped) as file:
            for n in range(file.num_record_batches):
                yield file.get_batch(n)

    def _of_json(self) -> Iterator[Any]:
        rows = 0
        for piece in self._pieces():
            try:
                found = msgspec.json.decode(b"[" + piece + b"]")
            except msgspec.DecodeError as error:
                raise InputRefused(
                    f"{self._sample.path}: row {rows + 1} or a later one: expected a list of "
                    f"trades ({error})",
                    cure="download it again, or convert it: freqtrade convert-trade-data",
                ) from None
            if found:
                yield self._batch(found, rows)
                rows += len(found)

    def _pieces(self) -> Iterator[bytes]:
        """Yield whole rows of one JSON list, a piece at a time."""
        rest, close = b"", b""
        try:
            with self._sample.open() as file:
                while chunk := file.read(_CHUNK_BYTES):
                    if not close:  # the outer bracket goes; what opens a row says what closes it
                        chunk = chunk.lstrip()[1:].lstrip()
                        close = b"}" if chunk[:1] == b"{" else b"]"
                    rest += chunk
                    cut = rest.rfind(close + b",")
                    if cut >= 0:
                        yield rest[: cut + 1]
                        rest = rest[cut + 2 :]
        except UNPACKING_ERRORS as error:
            raise self._sample.unreadable(error) from None
        rest = rest.rstrip()
        yield rest[:-1] if rest.endswith(b"]") else rest + b"?"  # a cut list is no JSON

    def _batch(self, rows: list[Any], before: int) -> Any:
        place = Place(self._sample.path, "", before, _NAMES)
        columns: dict[str, list[Any]] = {name: [] for name in _COLUMNS}
        for n, row in enumerate(rows):
            values: dict[str, Any] = row if isinstance(row, dict) else {}
            if isinstance(row, list) and len(row) == len(_ORDER):
                values = dict(zip(_ORDER, row, strict=True))
            if not set(_COLUMNS) <= set(values):
                place.of("row").refuse(
                    n, str(row)[:80], f"expected {', '.join(_ORDER)}", "download it again"
                )
            for name in _COLUMNS:
                columns[name].append(_plain(values[name], n, place.of(_COLUMNS[name])))
        return pa.record_batch(
            {
                name: pa.array(values, pa.int64() if name == "timestamp" else pa.string())
                for name, values in columns.items()
            }
        )


def _plain(value: Any, row: int, place: Place) -> Any:
    if place.column == "ts_event":
        if isinstance(value, bool) or not isinstance(value, int) or abs(value) >= 2**63:
            place.refuse(row, value, "expected milliseconds", "mend or drop that row")
        return value
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        place.refuse(row, value, "expected a text or a number", "mend or drop that row")
    return shortest_text(value)
