"""Orders that a venue filled: the envelope `order_filled`, read into a control `fill`'s detail.

Numbers are taken as their text says, and a time must have a zone. What says the same event twice
(its envelope's id) is refused the second time, so that nobody holds what was bought once twice.
Never here: whose order it was, or what it does to a portfolio.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import msgspec

from parity.core.outcomes import outside_fill
from parity.sources.codecs import Undecodable
from parity.sources.codecs.market_tick import nanoseconds

if TYPE_CHECKING:
    from parity.model.instruments import InstrumentTable

ORDER_FILLED: Final = "order_filled"
FILL: Final = "fill"
IDS_MAX: Final = 100_000  # of envelopes, the newest; a sender's retry comes within seconds
_NAME_MAX: Final = 256


class _Envelope(msgspec.Struct, gc=False):
    """An envelope, or the payload without one: then its `data` is empty."""

    type: str | None = None
    id: str | None = None
    correlation_id: str | None = None
    data: msgspec.Raw = msgspec.Raw(b"")


class _Filled(msgspec.Struct, gc=False):
    """The payload `order_filled`; other keys of it are not read."""

    strategy_id: str
    instrument_token: int
    quantity: Decimal
    fill_price: Decimal
    order_id: str | int = ""
    timestamp: str | None = None
    side: str | None = None
    signal_type: str | None = None
    fees: Decimal | None = None


_decode_envelope: Final = msgspec.json.Decoder(_Envelope).decode
_decode_filled: Final = msgspec.json.Decoder(_Filled).decode


class FillDecoder:
    """Reads the messages of one broker's topic of fills.

    Args:
        broker: whose topic it is; what a message says of it is not asked.
        table: the instruments there are.
        taken: ids of envelopes that were taken before, oldest first; the newest of them count.
    """

    def __init__(self, broker: str, table: InstrumentTable, taken: Iterable[str] = ()) -> None:
        self._broker = broker
        self._table = table
        self._taken = dict.fromkeys(deque(taken, IDS_MAX))

    def read(self, payload: bytes | None, broker_ns: int) -> tuple[str, dict[str, Any]]:
        """Return the verb and detail of the control that a message becomes.

        Args:
            payload: of the message.
            broker_ns: its time at the broker, for a payload that says none.

        Raises:
            Undecodable: it is no such message, or came before.
        """
        if not payload:
            raise Undecodable("the message was empty")
        try:
            envelope = _decode_envelope(payload)
            if envelope.type not in (None, ORDER_FILLED):
                raise Undecodable(f"type: expected {ORDER_FILLED}, was {envelope.type[:64]!r}")
            filled = _decode_filled(envelope.data or payload)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise Undecodable(f"not a fill: {error}") from None
        detail = self._detail(filled, broker_ns)
        if envelope.correlation_id and len(envelope.correlation_id) <= _NAME_MAX:
            # A child event copies its parent's: what began as a signal of ours names it.
            detail["signal_id"] = envelope.correlation_id
        if envelope.id:
            self._note(envelope.id)
            detail["event_id"] = envelope.id
        return FILL, detail

    def _detail(self, filled: _Filled, broker_ns: int) -> dict[str, Any]:
        if filled.timestamp is None:
            ts_event = broker_ns
        else:
            ts_event = nanoseconds(filled.timestamp, "timestamp")
        order_id = str(filled.order_id)
        for name, text in (("order_id", order_id), ("strategy_id", filled.strategy_id)):
            if len(text) > _NAME_MAX:
                raise Undecodable(f"{name}: expected at most {_NAME_MAX} characters")
        detail: dict[str, Any] = {
            "order_id": order_id,
            "strategy_id": filled.strategy_id,
            "broker": self._broker,
            "instrument_token": filled.instrument_token,
            "side": filled.signal_type if filled.side is None else filled.side,
            "quantity": str(filled.quantity),
            "fill_price": str(filled.fill_price),
            "fees": None if filled.fees is None else str(filled.fees),
            "ts_event": ts_event,
        }
        try:
            outside_fill(detail, self._table)  # as the core will read it
        except ValueError as error:
            raise Undecodable(f"not a fill: {error}") from None
        return detail

    def _note(self, event_id: str) -> None:
        if len(event_id) > _NAME_MAX:
            raise Undecodable(f"id: expected at most {_NAME_MAX} characters")
        if event_id in self._taken:
            raise Undecodable(f"id {event_id} came before: the same fill was sent twice")
        self._taken[event_id] = None
        if len(self._taken) > IDS_MAX:
            del self._taken[next(iter(self._taken))]
