"""A tick written down by hand: three values become one row of exact columns.

For tests of strategies, and for callers with a loop of their own. Recordings and feeds never come
through here; their times are settled at the door.
"""

from __future__ import annotations

import datetime as dt
import warnings
from decimal import Context, Decimal, DecimalException, Inexact
from typing import Any, Final

import numpy as np

from parity.model import ticks as flag
from parity.model.errors import InputRefused, ZoneMissingWarning
from parity.model.instruments import SCALE_MAX, Instrument, InstrumentTable
from parity.model.ticks import TickBatch

_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MICROSECOND: Final = dt.timedelta(microseconds=1)
_INT64: Final = 2**63
_STRICT: Final = Context(prec=60, traps=[Inexact])


def exact(name: str, value: Any) -> Decimal:
    """Return a number as an exact Decimal; a float at its shortest text.

    Raises:
        InputRefused: it is no finite number.
    """
    if isinstance(value, np.integer | np.floating):
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        raise InputRefused(f"{name}: expected a Decimal, was {value!r}")
    try:
        number = Decimal(repr(value) if isinstance(value, float) else value)
    except DecimalException:
        raise InputRefused(f"{name}: expected a Decimal, was {value!r}") from None
    if not number.is_finite():
        raise InputRefused(f"{name}: expected a finite number, was {value!r}")
    return number


def at_scale(name: str, value: Decimal, scale: int) -> int:
    """Return a number as an integer at a scale; raises InputRefused where it does not fit."""
    try:
        whole = int(value.scaleb(scale, _STRICT).to_integral_exact(context=_STRICT))
    except DecimalException:
        raise InputRefused(
            f"{name}: {value} is finer than {scale} decimals",
            cure="give its instrument a larger scale",
        ) from None
    if abs(whole) >= _INT64:
        raise InputRefused(
            f"{name}: {value} does not fit 64 bits at {scale} decimals",
            cure="give its instrument a smaller scale",
        )
    return whole


def ns_of(timestamp: Any, stacklevel: int = 2) -> int:
    """Return an instant in ns UTC; a naive one is read as UTC, with a ZoneMissingWarning."""
    if not isinstance(timestamp, dt.datetime):
        raise InputRefused(
            f"timestamp: expected a datetime, was {timestamp!r}", cure="datetime.now(UTC), say"
        )
    if timestamp.tzinfo is None:
        warnings.warn(
            # the same words every time, so that Python says them once for a line
            "a tick's timestamp has no zone: read as UTC; give it one (tzinfo=UTC), "
            "for local time is another instant",
            ZoneMissingWarning,
            stacklevel=stacklevel,
        )
        timestamp = timestamp.replace(tzinfo=dt.UTC)
    since: dt.timedelta = timestamp - _EPOCH
    instant = since // _MICROSECOND * 1000
    if abs(instant) >= _INT64:
        raise InputRefused(f"timestamp: {timestamp.isoformat()} does not fit ns since 1970")
    return instant


def fields_of(
    token: int, last_price: Any, timestamp: Any, quantity: Any, side: int
) -> tuple[int, int, float, float, int, TickBatch, int]:
    """Return the fields of a tick that stands alone in a batch of its own."""
    if isinstance(token, bool) or not isinstance(token, int) or not 1 <= token < _INT64:
        raise InputRefused(f"instrument_token: expected an integer ≥ 1, was {token!r}")
    if side not in (-1, 0, 1):
        raise InputRefused(f"side: expected +1, 0 or -1, was {side!r}")
    price, size = exact("last_price", last_price), exact("quantity", quantity)
    ts_event = ns_of(timestamp, stacklevel=4)
    scales = _scale_of("last_price", price), _scale_of("quantity", size)
    table = InstrumentTable(
        [
            Instrument(
                token=token, symbol=str(token), price_scale=scales[0], quantity_scale=scales[1]
            )
        ]
    )
    row = record_of(table, token, ts_event, price, size, side)
    batch = TickBatch.from_records(row, table)
    number, amount = float(batch.column("price")[0]), float(batch.column("quantity")[0])
    return token, ts_event, number, amount, int(side), batch, 0


def record_of(
    table: InstrumentTable, token: int, ts_event: int, price: Decimal, quantity: Decimal, side: int
) -> Any:
    """Return a trade as a record of one row at its instrument's scales, seq 0."""
    known = table.by_token(token)
    row = np.zeros(1, table.tick_dtype)
    row["ts_event"], row["instrument_token"], row["side"] = ts_event, token, side
    row["price_int"] = at_scale(f"last_price of {token}", price, known.price_scale)
    row["quantity_int"] = at_scale(f"quantity of {token}", quantity, known.quantity_scale)
    row["trade_id"] = -1
    row["flags"] = _FLAGS | (0 if quantity else flag.NO_QUANTITY)
    return row


_FLAGS: Final = (
    flag.TRADE
    | flag.NO_BID
    | flag.NO_ASK
    | flag.NO_BID_QUANTITY
    | flag.NO_ASK_QUANTITY
    | flag.NO_VOLUME
    | flag.NO_OPEN_INTEREST
    | flag.NO_TRADE_ID
    | flag.NO_TS_RECV
)


def _scale_of(name: str, value: Decimal) -> int:
    exponent = value.as_tuple().exponent
    scale = -int(exponent)
    if scale > SCALE_MAX:
        raise InputRefused(f"{name}: {value} has {scale} decimals, at most {SCALE_MAX} are kept")
    return max(0, scale)
