"""Tick columns: names, dtypes, flag bits, and the batch of ticks the engine is fed with.

Prices and quantities are exact integers at the instrument's scale; the float64 columns are
derived from them by one division and never stored. No nulls: an absent value is neutral
(0, or -1 for ids) and has its flag bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from parity.model.instruments import InstrumentTable

Column = npt.NDArray[Any]

# Kind of tick: exactly one of these bits is set.
TRADE: Final = 1 << 0
QUOTE: Final = 1 << 1
INDEX: Final = 1 << 2
SNAPSHOT: Final = 1 << 3
# Absent values.
NO_PRICE: Final = 1 << 4
NO_QUANTITY: Final = 1 << 5
NO_BID: Final = 1 << 6
NO_ASK: Final = 1 << 7
NO_BID_QUANTITY: Final = 1 << 8
NO_ASK_QUANTITY: Final = 1 << 9
NO_VOLUME: Final = 1 << 10
NO_OPEN_INTEREST: Final = 1 << 11
NO_TRADE_ID: Final = 1 << 12
NO_TS_RECV: Final = 1 << 13
NO_VENUE_TIME: Final = 1 << 14
# Verdicts of the sequencer; a replay trusts them.
DUPLICATE: Final = 1 << 16
SKEWED: Final = 1 << 17
LATE: Final = 1 << 18
CATCH_UP: Final = 1 << 19
WARMUP: Final = 1 << 20
# State of the market, where the venue says it with the tick.
HALTED: Final = 1 << 21
AUCTION: Final = 1 << 22

KIND_BITS: Final = TRADE | QUOTE | INDEX | SNAPSHOT
TRADE_LIKE: Final = TRADE | INDEX | SNAPSHOT  # what `on: trades` sees
UNDELIVERED: Final = DUPLICATE | SKEWED  # recorded, never shown to an executor
SEQUENCER_BITS: Final = DUPLICATE | SKEWED | LATE | CATCH_UP | WARMUP

FLAG_NAMES: Final[dict[str, int]] = {
    name.lower(): bit
    for name, bit in list(globals().items())
    if isinstance(bit, int)
    and name.isupper()
    and name not in {"KIND_BITS", "TRADE_LIKE", "UNDELIVERED", "SEQUENCER_BITS"}
}


def flag_names(flags: int) -> list[str]:
    """Return the names of the bits that are set.

    >>> flag_names(TRADE | HALTED)
    ['trade', 'halted']
    """
    return [name for name, bit in FLAG_NAMES.items() if flags & bit]


# One fixed record: the journal's tick, and what a codec fills. Little-endian and packed, so its
# bytes are the same everywhere.
TICK_DTYPE: Final = np.dtype(
    [
        ("seq", "<i8"),
        ("ts_event", "<i8"),
        ("ts_recv", "<i8"),
        ("instrument_token", "<i8"),
        ("price_int", "<i8"),
        ("quantity_int", "<i8"),
        ("side", "i1"),
        ("bid_int", "<i8"),
        ("ask_int", "<i8"),
        ("bid_quantity_int", "<i8"),
        ("ask_quantity_int", "<i8"),
        ("volume_int", "<i8"),
        ("open_interest", "<i8"),
        ("trade_id", "<i8"),
        ("flags", "<u4"),
        ("stream", "<i4"),
        ("offset", "<i8"),
        ("sub", "<i4"),
    ]
)
COLUMNS: Final[tuple[str, ...]] = tuple(TICK_DTYPE.names or ())
# in-memory integer column -> (name in Parquet and as derived float64, which scale it has)
SCALED: Final[dict[str, tuple[str, str]]] = {
    "price_int": ("price", "price"),
    "quantity_int": ("quantity", "quantity"),
    "bid_int": ("bid", "price"),
    "ask_int": ("ask", "price"),
    "bid_quantity_int": ("bid_quantity", "quantity"),
    "ask_quantity_int": ("ask_quantity", "quantity"),
    "volume_int": ("volume", "quantity"),
}
DERIVED: Final[dict[str, str]] = {name: source for source, (name, _) in SCALED.items()}


_Range = slice  # TickBatch has a method of that name


class Room(Protocol):
    """Arrays that are used again for batch after batch: fresh pages cost more than the work."""

    def quotient(
        self, source: str, values: Column, divisor: float | Column, inst: Column
    ) -> Column:
        """Return an integer column divided, by one divisor or by each instrument's."""
        ...


class TickBatch:
    """Ticks in seq order as contiguous columns; derived columns are made once, when asked for.

    Args:
        columns: integer columns of the table's `tick_dtype` (a projection is enough), equal
            lengths; `seq` may be a range, which becomes a column when asked for.
        table: the instrument table that gives scales, dense ids and extension columns.

    Besides its own columns it derives ``inst`` (dense id, int32) and the float64 columns
    ``price, quantity, bid, ask, bid_quantity, ask_quantity, volume``, and one of the name of each
    extension that is a price or a quantity (0.0 where it is absent, which ``present`` says).
    """

    __slots__ = ("_columns", "_length", "_records", "_room", "_seqs", "extra_scale", "table")

    def __init__(
        self,
        columns: Mapping[str, Column | range],
        table: InstrumentTable,
        *,
        extra_scale: int = 0,
        records: npt.NDArray[Any] | None = None,
    ) -> None:
        self._columns: dict[str, Column] = dict(columns)  # type: ignore[arg-type]  # a range is taken out below
        self._seqs: range | None = None
        self.table = table
        self._room: Room | None = None
        self.extra_scale = extra_scale  # a mid price is exact at the instrument's scale + 1
        self._records = records  # where columns not made yet come from, else None
        if records is not None:
            self._length = len(records)
        else:
            self._length = len(next(iter(self._columns.values()))) if self._columns else 0
            if isinstance(seqs := columns.get("seq"), range):
                self._seqs = seqs
                del self._columns["seq"]

    @classmethod
    def from_records(cls, records: npt.NDArray[Any], table: InstrumentTable) -> TickBatch:
        """Build from an array of `table.tick_dtype`, which must not change afterwards.

        Columns are contiguous copies, made when they are asked for.
        """
        return cls({}, table, records=records)

    @classmethod
    def empty(cls, table: InstrumentTable) -> TickBatch:
        """Return a batch of no ticks."""
        return cls.from_records(np.zeros(0, table.tick_dtype), table)

    def __len__(self) -> int:
        return self._length

    def __contains__(self, name: str) -> bool:
        return self.table.columns.sources.get(name, name) in self.names

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the integer columns held, derived ones left out."""
        if self._records is not None:
            return self.table.columns.names
        known = self.table.columns.known
        if self._seqs is not None:
            return ("seq", *(n for n in self._columns if n in known and n != "seq"))
        return tuple(n for n in self._columns if n in known)

    @property
    def seqs(self) -> Column | range:
        """The column `seq`, or the range it would be made of."""
        return self.column("seq") if self._seqs is None else self._seqs

    def column(self, name: str) -> Column:
        """Return one column; raises KeyError naming it where the projection left it out."""
        found = self._columns.get(name)
        if found is not None:
            return found
        made: Column
        known = self.table.columns
        if self._records is not None and name in known.known:
            made = np.ascontiguousarray(self._records[name])
        elif name == "seq" and self._seqs is not None:
            made = np.arange(self._seqs.start, self._seqs.stop, dtype=np.int64)
        elif name == "inst":
            made = self.table.dense(self.column("instrument_token"))
        elif name in known.derived:
            made = self._divide(known.derived[name])
        elif name in known.sources:
            made = self._of_extension(name, known.sources[name])
        else:
            raise KeyError(f"tick column {name!r} is not in this batch ({', '.join(self.names)})")
        self._columns[name] = made
        return made

    def keep(self, name: str, values: Column) -> None:
        """Keep a derived column that was made elsewhere, as a pass over several did it."""
        self._columns[name] = values

    def lend(self, room: Room) -> None:
        """Let what is derived from now on stand in arrays that the next batch takes over."""
        self._room = room

    def own(self) -> None:
        """Let nothing of it stand in lent arrays any more: somebody may look at it later."""
        if self._room is not None:
            known = self.table.columns.known
            self._columns = {n: c if n in known else c.copy() for n, c in self._columns.items()}
            self._room = None

    def _divide(self, source: str) -> Column:
        # int / 10**scale by division only: the float64 that parsing the text would give
        # (exact to 2**53); `* 0.01` is wrong on 17 % of values.
        values = self.column(source)
        extra = self.extra_scale if source == "price_int" else 0
        divisor = self.table.divisor(self.table.columns.scaled[source][1], extra)
        if self._room is not None:
            return self._room.quotient(source, values, divisor, self.column("inst"))
        quotient: Column
        if isinstance(divisor, np.ndarray):
            quotient = divisor.take(self.column("inst"))
            np.divide(values, quotient, out=quotient)  # in place: fresh pages cost more than it
        else:
            quotient = values / divisor
        return quotient

    def _of_extension(self, name: str, source: str) -> Column:
        if not name.startswith("has_"):
            return self.column(source)  # integers and words have no float, and one column
        there: Column = self.column("present") & np.uint64(self.table.columns.bits[source]) != 0
        return there

    def slice(self, lo: int, hi: int) -> TickBatch:
        """Return rows [lo, hi) as views."""
        return self._part(_Range(lo, hi))

    def take(self, rows: npt.NDArray[np.intp]) -> TickBatch:
        """Return the rows at the given positions (copies)."""
        return self._part(rows)

    def _part(self, rows: _Range | npt.NDArray[np.intp]) -> TickBatch:
        columns: dict[str, Column | range] = {n: c[rows] for n, c in self._columns.items()}
        if self._seqs is not None:
            seqs = self._seqs[rows] if isinstance(rows, _Range) else self.column("seq")[rows]
            columns = {"seq": seqs, **columns}
        return TickBatch(
            columns,
            self.table,
            extra_scale=self.extra_scale,
            records=None if self._records is None else self._records[rows],
        )

    def to_records(self) -> npt.NDArray[Any]:
        """Return records of `table.tick_dtype`; raises KeyError where a column is missing."""
        records = np.zeros(len(self), self.table.tick_dtype)
        for name in self.table.columns.names:
            records[name] = self.column(name)
        return records
