"""Signals that another runner published, as `{broker}.signals.raw` carries them: JSON to values.

A message is the envelope of type trading_signal, what `published/` holds (`{headers, message}`), or
the envelope's data alone. Never here: a file or a topic; a message that is guessed at.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from parity.model.errors import InputRefused
from parity.model.values import SIDES
from parity.proof.against import Said
from parity.sources.codecs import Undecodable
from parity.sources.codecs.market_tick import nanoseconds

HOLD: Final = "HOLD"
OWN: Final = "the run's own"
TYPE: Final = "trading_signal"


class _Data(msgspec.Struct):
    strategy_id: str
    instrument_token: int
    signal_type: str
    timestamp: str
    quantity: float | str | None = None
    price: float | str | None = None
    confidence: float | None = None


_decode: Final = msgspec.json.Decoder(dict[str, Any]).decode


def said_of(payload: bytes, place: str, own: str | None = None) -> Said | str:
    """Return the signal of a message, or why it is none: `hold`, or its other `type`.

    Args:
        payload: one JSON object.
        place: where it stands, for errors and differences.
        own: run_id of the run whose messages are none of another runner's.

    Raises:
        InputRefused: it cannot be read as any of the three forms.
    """
    try:
        message = _decode(payload)
        message = message.get("message", message)
        kind = message.get("type", TYPE)
        if kind != TYPE:
            return str(kind)
        if own is not None and message.get("trace_id") == own:
            return OWN
        data = msgspec.convert(message.get("data", message), _Data)
        if data.signal_type == HOLD:
            return HOLD.lower()
        return Said(
            instrument_token=data.instrument_token,
            side=SIDES[data.signal_type],
            ts_event=nanoseconds(data.timestamp, "timestamp"),
            strategy_id=data.strategy_id,
            broker=str(message.get("broker") or ""),
            price=_number(data.price),
            quantity=_number(data.quantity),
            confidence=_confidence(data.confidence),
            place=place,
        )
    except (msgspec.MsgspecError, Undecodable, KeyError, ValueError, AttributeError) as error:
        words = f"signal_type {error}" if isinstance(error, KeyError) else str(error)
        raise InputRefused(
            f"{place}: no signal: {words}",
            cure="each message is a trading_signal of {broker}.signals.raw as one JSON object",
        ) from None


def _number(value: float | str | None) -> float | None:
    return None if value is None else float(value)


def _confidence(value: float | None) -> float | None:
    """Return it as a fraction: above 1 it is a percentage, as readers of these topics take it."""
    return value if value is None or value <= 1 else min(value / 100, 1.0)
