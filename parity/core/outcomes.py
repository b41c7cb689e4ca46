"""What became of an order, put on record; and fills from outside, read from their event.

A fill from outside is an event like a tick: journaled, at its seq, met by a replay at the same
place. Never here: money, or a decision.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from parity.core.digest import canonical, pack_head
from parity.core.money import NOTHING
from parity.core.orders import ORDER, OUTSIDE, Order
from parity.core.paper_broker import Execution
from parity.model.effects import Fill
from parity.model.values import SIDES

if TYPE_CHECKING:
    from parity.model.instruments import InstrumentTable

_DIGITS_MAX: Final = 40
# The same few sizes and reasons come again and again; a reason is one of `paper_broker.ENDS`.
_float: Final = lru_cache(maxsize=1024)(float)
_reason: Final = lru_cache(maxsize=64)(canonical)


def outcome(done: Execution, key: tuple[str, str], seq: int, ts_event: int, ordinal: int) -> Fill:
    """Return the effect of an execution, with its record.

    Args:
        done: the execution.
        key: strategy_id and broker.
        seq: of the event that brought it.
        ts_event: instant of that event, or of the deadline.
        ordinal: of the tick; -1 where no tick brought it.
    """
    order = done.order
    quantity = _float(done.quantity) if done.quantity else 0.0
    commission = float(done.commission) if done.commission else 0.0
    head = pack_head(
        order.token, ts_event, ordinal, order.side, float(done.price), quantity, commission
    )
    record = (b"R" + head + _reason(done.reason)) if done.reason else b"F" + head
    if order.kind != ORDER:  # a signal's own order is what a record is about, if it is silent
        record += canonical(order.kind)
    return Fill(
        seq,
        *key,
        order.token,
        ts_event,
        ordinal,
        order.side,
        done.price,
        done.quantity,
        done.commission,
        order.signal_id,
        done.reason,
        record,
        order.kind,
    )


def outside_fill(detail: Mapping[str, Any], table: InstrumentTable) -> tuple[Execution, int]:
    """Read the detail of a control `fill`: the payload `order_filled`, its time as `ts_event`.

    Returns:
        The execution, and its instant.

    Raises:
        ValueError: naming the key that is wrong.
    """
    token, ts_event = detail.get("instrument_token"), detail.get("ts_event")
    if type(token) is not int or token not in table:
        raise ValueError(f"instrument_token: expected one of the table, was {token!r}")
    if type(ts_event) is not int or not 0 <= ts_event < 1 << 63:
        raise ValueError(f"ts_event: expected int ns UTC, was {ts_event!r}")
    side = SIDES.get(str(detail.get("side")), 0)
    if not side:
        raise ValueError(f"side: expected BUY or SELL, was {detail.get('side')!r}")
    quantity, price = _number(detail, "quantity"), _number(detail, "fill_price")
    if not quantity or not price:
        raise ValueError("quantity, fill_price: expected numbers above 0, was 0")
    fees = _number(detail, "fees") if detail.get("fees") is not None else NOTHING
    name, dense = str(detail.get("order_id", "")), table.dense_id(token)
    order = Order(0, dense, token, side, quantity, name, kind=OUTSIDE)
    return Execution(order, price, quantity, fees, ""), ts_event


def _number(detail: Mapping[str, Any], key: str) -> Decimal:
    value = detail.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        raise ValueError(f"{key}: expected a number, was {value!r}")
    try:
        number = Decimal(str(value))  # of a float, its shortest text
    except InvalidOperation:
        raise ValueError(f"{key}: expected a number, was {value!r}") from None
    if not number.is_finite() or number < 0 or len(number.as_tuple().digits) > _DIGITS_MAX:
        raise ValueError(f"{key}: expected a number of at most {_DIGITS_MAX} digits, was {value!r}")
    if number and abs(number.adjusted()) > _DIGITS_MAX:
        raise ValueError(f"{key}: expected a number of an order's size, was {value!r}")
    return number
