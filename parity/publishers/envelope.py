"""The message of an approved signal or a paper fill: the envelope of the services that read them.

A function of what is sent alone, so that sending it again gives the same bytes. Prices are the
float64 the core compared; a quantity is exact: an integer, or decimal text where it has a fraction.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any, Final

import msgspec

from parity.model.values import SIDE_NAMES
from parity.publishers import PaperFill

if TYPE_CHECKING:
    from collections.abc import Mapping
    from decimal import Decimal

    from parity.model.effects import ApprovedSignal
    from parity.publishers import Outgoing

SOURCE: Final = "parity"
ORDER: Final = "order"  # a fill's kind where a signal itself was ordered
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_encode: Final = msgspec.json.Encoder(decimal_format="string").encode
_encode_exact: Final = msgspec.json.Encoder(decimal_format="number").encode


def key_of(what: Outgoing) -> str:
    """Return the message key: what is of one strategy and instrument stays in order."""
    said = what.fill if isinstance(what, PaperFill) else what.candidate
    return f"{said.strategy_id}:{said.instrument_token}"


def headers_of(what: Outgoing, run_id: str) -> dict[str, str]:
    """Return the headers a restart looks for."""
    if isinstance(what, PaperFill):
        return {"run_id": run_id, "fill_no": str(what.fill_no), "event_id": what.event_id}
    return {"run_id": run_id, "signal_no": str(what.signal_no), "signal_id": what.signal_id}


def number_in(headers: Mapping[str, Any]) -> int:
    """Return the number that a message's headers have: a signal's, or a fill's."""
    return int(headers.get("signal_no") or headers.get("fill_no") or 0)


def encode_message(what: Outgoing, run_id: str) -> bytes:
    """Return the envelope of a signal or fill as JSON."""
    return encode_fill(what, run_id) if isinstance(what, PaperFill) else encode_signal(what, run_id)


def encode_signal(signal: ApprovedSignal, run_id: str) -> bytes:
    """Return the envelope of type trading_signal as JSON."""
    said = signal.candidate
    instant = iso_utc(said.ts_event)
    data: dict[str, Any] = {
        "strategy_id": said.strategy_id,
        "instrument_token": said.instrument_token,
        "signal_type": SIDE_NAMES[said.side],
        "quantity": _quantity(signal.quantity_exact),
        "price": said.price,
        "timestamp": instant,
        "confidence": said.confidence,
        "reasoning": said.reasoning,
        "metadata": said.metadata or None,
    }
    head = {
        "id": signal.signal_id,
        "correlation_id": signal.signal_id,
        "causation_id": None,
        "trace_id": run_id,
        "parent_trace_id": None,
        "broker": said.broker,
        "type": "trading_signal",
    }
    return _encode({**head, **_foot(signal, instant), "data": data})


def encode_fill(filled: PaperFill, run_id: str) -> bytes:
    """Return the envelope of type order_filled as JSON: a child of the signal that was ordered.

    Price, quantity and fees are JSON numbers with the exact digits of the fill. What closes a
    position without a signal of its own (a stop, a flatten) has no cause; `order_id` tells it.
    """
    fill = filled.fill
    instant = iso_utc(fill.ts_event)
    cause = fill.signal_id if fill.kind == ORDER else None
    data: dict[str, Any] = {
        "order_id": fill.signal_id,
        "instrument_token": fill.instrument_token,
        "quantity": fill.quantity,
        "fill_price": fill.price,
        "timestamp": instant,
        "broker": fill.broker,
        "side": SIDE_NAMES[fill.side],
        "strategy_id": fill.strategy_id,
        "signal_type": SIDE_NAMES[fill.side],
        "execution_mode": "paper",
        "fees": fill.commission,
    }
    head = {
        "id": filled.event_id,
        "correlation_id": fill.signal_id,
        "causation_id": cause,
        "trace_id": run_id,
        "parent_trace_id": cause,
        "broker": fill.broker,
        "type": "order_filled",
    }
    return _encode_exact({**head, **_foot(filled, instant), "data": data})


def _foot(what: Outgoing, instant: str) -> dict[str, Any]:
    return {"ts": instant, "key": key_of(what), "source": SOURCE, "version": 1}


def iso_utc(nanoseconds: int) -> str:
    """Return int ns UTC as ISO 8601, with nine decimals only where microseconds lose something.

    >>> iso_utc(1_736_154_000_365_000_000), iso_utc(1)
    ('2025-01-06T09:00:00.365000Z', '1970-01-01T00:00:00.000000001Z')
    """
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    whole = (_EPOCH + dt.timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{whole}.{rest:09d}Z" if rest % 1000 else f"{whole}.{rest // 1000:06d}Z"


def _quantity(exact: Decimal) -> int | str:
    return int(exact) if exact == exact.to_integral_value() else format(exact, "f")
