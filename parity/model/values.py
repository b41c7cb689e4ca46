"""What a strategy sees and says: MarketTick, SignalResult, TradeDecision and its configuration."""

from __future__ import annotations

import datetime as dt
from decimal import Context, Decimal
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final

import msgspec

from parity.model import given
from parity.model import ticks as flag
from parity.model.errors import ConfigError
from parity.model.ticks import TickBatch

SIDES: Final[dict[str, int]] = {"BUY": 1, "SELL": -1, "HOLD": 0}
SIDE_NAMES: Final[dict[int, str]] = {number: name for name, number in SIDES.items()}
_EXACT: Final = Context(prec=40)  # not the thread's own, which a strategy may have changed
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


class Lifecycle(IntEnum):
    """States of an executor; the numbers are the gauge `strategy_state`."""

    INIT = 0
    WARMUP = 1
    ACTIVE = 2
    PAUSED = 3
    ERROR = 4
    STOPPED = 5


class BatchTick(msgspec.Struct, frozen=True, gc=False, eq=False):
    """One tick as a processor sees it: a MarketTick, in the batch it came with.

    The fields that nearly every strategy reads are plain; the others are looked up in the batch
    the tick came from when asked for. `last_price` and `timestamp` are the names of older code.

    Args:
        ts_event: the venue's instant, int ns UTC.
        price: trade price, or the mid of a quote where the strategy runs on quotes.
        side: aggressor: +1 bought, -1 sold, 0 unknown.
    """

    instrument_token: int
    ts_event: int
    price: float
    quantity: float
    side: int
    _batch: TickBatch
    _row: int

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BatchTick) and self._values() == other._values()

    def __hash__(self) -> int:
        return hash(self._values())

    def _values(self) -> tuple[int, int, float, float, int]:
        return self.instrument_token, self.ts_event, self.price, self.quantity, self.side

    @property
    def ts_recv(self) -> int:
        """Our arrival instant, int ns UTC; 0 where the recording has none."""
        return int(self._batch.column("ts_recv")[self._row])

    @property
    def flags(self) -> int:
        """Flag bits, see parity.model.ticks."""
        return int(self._batch.column("flags")[self._row])

    @property
    def trade_id(self) -> int | None:
        """The venue's trade id, or None."""
        return None if self.flags & flag.NO_TRADE_ID else self._integer("trade_id")

    @property
    def price_int(self) -> int:
        """The exact price as an integer at `price_scale`."""
        return self._integer("price_int")

    @property
    def price_scale(self) -> int:
        """Power of ten of `price_int`."""
        batch = self._batch
        dense = int(batch.column("inst")[self._row])
        return int(batch.table.price_scales[dense]) + batch.extra_scale

    @property
    def quantity_int(self) -> int:
        """The exact quantity as an integer at `quantity_scale`."""
        return self._integer("quantity_int")

    @property
    def quantity_scale(self) -> int:
        """Power of ten of `quantity_int`."""
        batch = self._batch
        return int(batch.table.quantity_scales[int(batch.column("inst")[self._row])])

    @property
    def last_price(self) -> Decimal:
        """The exact price as a Decimal."""
        return Decimal(self.price_int).scaleb(-self.price_scale, _EXACT)

    @property
    def timestamp(self) -> dt.datetime:
        """`ts_event` as an aware UTC datetime (microseconds; ns are cut off)."""
        return _EPOCH + dt.timedelta(microseconds=self.ts_event // 1000)

    @property
    def bid(self) -> float | None:
        """Best bid price, or None."""
        return None if self.flags & flag.NO_BID else self._real("bid")

    @property
    def ask(self) -> float | None:
        """Best ask price, or None."""
        return None if self.flags & flag.NO_ASK else self._real("ask")

    @property
    def bid_quantity(self) -> float | None:
        """Quantity at the best bid, or None."""
        return None if self.flags & flag.NO_BID_QUANTITY else self._real("bid_quantity")

    @property
    def ask_quantity(self) -> float | None:
        """Quantity at the best ask, or None."""
        return None if self.flags & flag.NO_ASK_QUANTITY else self._real("ask_quantity")

    @property
    def volume(self) -> float | None:
        """Cumulative volume of the day where the venue sends it, or None."""
        return None if self.flags & flag.NO_VOLUME else self._real("volume")

    @property
    def open_interest(self) -> int | None:
        """Open interest, or None."""
        return None if self.flags & flag.NO_OPEN_INTEREST else self._integer("open_interest")

    def extension(self, name: str) -> float | int | str | None:
        """An extension column: a price or quantity as float, an integer, or a word.

        None where this tick has no value.

        Raises:
            ConfigError: the recording declares no such column.
        """
        known = self._batch.table.columns.extension(name)
        if known.scaled:
            return self._real(name) if self._has(name) else None
        value = self.extension_int(name)
        return known.words[value] if known.kind == "text" and value is not None else value

    def extension_int(self, name: str) -> int | None:
        """The same as an exact integer at the instrument's scale, or a word's number, or None."""
        known = self._batch.table.columns.extension(name)
        return self._integer(known.field) if self._has(name) else None

    def extension_exact(self, name: str) -> Decimal | None:
        """The same as a Decimal, or None; a word has none and raises ConfigError."""
        table = self._batch.table
        known = table.columns.extension(name)
        if known.kind == "text":
            raise ConfigError(f"extension column {name!r} is text", cure="read it by extension()")
        value = self.extension_int(name)
        if value is None or not known.scaled:
            return None if value is None else Decimal(value)
        scale = int(table.scales(known.kind)[int(self._batch.column("inst")[self._row])])
        return Decimal(value).scaleb(-scale, _EXACT)

    def _has(self, name: str) -> bool:
        return bool(self._batch.column(f"has_{name}")[self._row])

    def _integer(self, name: str) -> int:
        return int(self._batch.column(name)[self._row])

    def _real(self, name: str) -> float:
        return float(self._batch.column(name)[self._row])


class _ByHand(type(msgspec.Struct)):  # type: ignore[misc] # msgspec hides the metaclass's name
    """Makes MarketTicks of the three values that people write, and counts every tick as one."""

    def __call__(
        cls,
        instrument_token: int,
        last_price: Decimal | float | str,
        timestamp: dt.datetime,
        *,
        quantity: Decimal | float | str = 0,
        side: int = 0,
    ) -> Any:
        fields = given.fields_of(instrument_token, last_price, timestamp, quantity, side)
        return super().__call__(*fields)

    def __instancecheck__(cls, one: object) -> bool:
        return isinstance(one, BatchTick)


class MarketTick(BatchTick, frozen=True, gc=False, eq=False, metaclass=_ByHand):
    """A tick, as strategies know it, and what makes one by hand.

    ``MarketTick(instrument_token=1, last_price=Decimal("100.5"), timestamp=at)``, and `quantity`
    and `side` where they matter. The price is kept exactly; a float counts as its shortest text.
    Every tick of a batch is an instance. A naive `timestamp` is read as UTC, with a
    ZoneMissingWarning.

    Raises:
        InputRefused: a value that is no price, no time or no token.
    """

    if TYPE_CHECKING:

        def __init__(
            self,
            instrument_token: int,
            last_price: Decimal | float | str,
            timestamp: dt.datetime,
            *,
            quantity: Decimal | float | str = 0,
            side: int = 0,
        ) -> None: ...

    def __reduce__(self) -> Any:
        size = Decimal(self.quantity_int).scaleb(-self.quantity_scale, _EXACT)
        return _again, (self.instrument_token, self.last_price, self.timestamp, size, self.side)


def _again(token: int, last_price: Decimal, at: dt.datetime, size: Decimal, side: int) -> Any:
    return MarketTick(token, last_price, at, quantity=size, side=side)


class SignalResult(msgspec.Struct, frozen=True):
    """What a processor says about one tick.

    Args:
        signal_type: BUY, SELL or HOLD (HOLD is never published).
        confidence: 0..1.
        quantity: in units of the instrument; int, Decimal or float.
        price: the price the signal is meant at; float or Decimal.
        reasoning: for people; not part of what parity compares.
        metadata: plain values (None, bool, int, float, str, Decimal, lists and dicts of these);
            compared bit for bit.
    """

    signal_type: str
    confidence: float
    quantity: int | float | Decimal
    price: float | Decimal
    reasoning: str = ""
    metadata: dict[str, Any] | None = None


class StrategyConfig(msgspec.Struct, frozen=True):
    """One strategy as configured: which processor, which parameters, where it runs."""

    strategy_id: str
    strategy_type: str
    parameters: dict[str, Any] = {}
    active_brokers: tuple[str, ...] = ("paper",)
    instrument_tokens: tuple[int, ...] = ()
    max_position_size: Decimal = Decimal(0)
    risk_multiplier: Decimal = Decimal(1)
    enabled: bool = True
    on: str = "trades"
    validator: str = "standard"

    def __post_init__(self) -> None:
        for name in ("active_brokers", "instrument_tokens"):  # older code writes lists
            msgspec.structs.force_setattr(self, name, tuple(getattr(self, name)))
        if self.on not in ("trades", "quotes"):
            raise ConfigError(
                f"strategy {self.strategy_id}: on: expected 'trades' or 'quotes', was {self.on!r}"
            )


class ExecutionContext(msgspec.Struct, frozen=True):
    """What surrounds a decision: the broker, the portfolio, the session and the limits."""

    broker: str = "paper"
    portfolio_state: dict[str, Any] = {}
    market_session: str = "regular"
    risk_limits: dict[str, Any] = {}
