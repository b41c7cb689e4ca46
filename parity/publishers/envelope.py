"""The message of an approved signal: the envelope of the services that read signals.

A function of the signal alone, so that sending it again gives the same bytes. Prices are the
float64 the core compared; a quantity is exact: an integer, or decimal text where it has a fraction.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any, Final

import msgspec

from parity.model.values import SIDE_NAMES

if TYPE_CHECKING:
    from decimal import Decimal

    from parity.model.effects import ApprovedSignal

SOURCE: Final = "parity"
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_encode: Final = msgspec.json.Encoder(decimal_format="string").encode


def key_of(signal: ApprovedSignal) -> str:
    """Return the message key: signals of one strategy and instrument stay in order."""
    return f"{signal.candidate.strategy_id}:{signal.candidate.instrument_token}"


def headers_of(signal: ApprovedSignal, run_id: str) -> dict[str, str]:
    """Return the headers a restart looks for."""
    return {"run_id": run_id, "signal_no": str(signal.signal_no), "signal_id": signal.signal_id}


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
    return _encode(
        {
            "id": signal.signal_id,
            "correlation_id": signal.signal_id,
            "causation_id": None,
            "trace_id": run_id,
            "parent_trace_id": None,
            "broker": said.broker,
            "type": "trading_signal",
            "ts": instant,
            "key": key_of(signal),
            "source": SOURCE,
            "version": 1,
            "data": data,
        }
    )


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
