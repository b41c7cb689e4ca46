"""Kite ticks as the websocket sends them: binary frames of packets, big-endian.

A frame is `int16 count`, then for each packet `int16 length` and its bytes. What a packet is, its
length says: 8 ltp, 28 and 32 index (quote, full), 44 quote, 184 full. Integers are read unsigned,
as the vendor's client does; prices have the decimals of their segment, the token's last byte. A
frame of one byte is a heartbeat and holds nothing.

A frame whose lengths do not add up is refused whole; a packet that cannot be read leaves its
neighbours alone.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Final

from parity.model import ticks as flag
from parity.sources.codecs import Undecodable
from parity.sources.codecs.exact import decimal_text
from parity.sources.codecs.filling import Filler
from parity.sources.codecs.kite import INDICES
from parity.sources.codecs.market_tick import LEVELS

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from parity.model.instruments import InstrumentTable

_DECIMALS: Final = {3: 7, 6: 4}  # segment -> decimals of its prices; all others have two
_USUAL_DECIMALS: Final = 2
_SHORT: Final = struct.Struct(">H")
_LTP: Final = struct.Struct(">2I")
_INDEX: Final = struct.Struct(">7I")
_QUOTE: Final = struct.Struct(">11I")
_FULL: Final = struct.Struct(">5I")  # behind a quote
_LEVEL: Final = struct.Struct(">2IH2x")
_LEVELS_AT: Final = _QUOTE.size + _FULL.size
_SECOND_NS: Final = 1_000_000_000
_ORDERS_OF_OHLC: Final = ("high", "low", "open", "close")  # of an index; others begin with open

INDEX_QUOTE: Final = _INDEX.size
INDEX_FULL: Final = _INDEX.size + 4
FULL: Final = _LEVELS_AT + 2 * LEVELS * _LEVEL.size
_LENGTHS: Final = (_LTP.size, INDEX_QUOTE, INDEX_FULL, _QUOTE.size, FULL)


class KiteBinaryDecoder:
    """Reads binary frames; `split` gives their packets, `decode_into` reads one packet.

    Args:
        table: gives each token its scales; a token that is not in it is refused.
    """

    read_many = None

    def __init__(self, table: InstrumentTable) -> None:
        self._filler = Filler(table)
        self.dtype = self._filler.dtype

    def split(self, payload: bytes | None) -> Sequence[bytes]:
        """Return the packets of a frame.

        Raises:
            Undecodable: the lengths do not add up to the frame's.
        """
        if not payload:
            raise Undecodable("frame: expected packets, was empty")
        if len(payload) == 1:
            return []
        (count,) = _SHORT.unpack_from(payload)
        at, packets = _SHORT.size, []
        for n in range(count):
            if at + _SHORT.size > len(payload):
                raise Undecodable(f"frame: expected {count} packets, ends behind {n} of them")
            (length,) = _SHORT.unpack_from(payload, at)
            at += _SHORT.size + length
            if at > len(payload):
                raise Undecodable(
                    f"frame: packet {n + 1} of {count}: expected {length} bytes, the frame ends "
                    f"{at - len(payload)} before"
                )
            packets.append(payload[at - length : at])
        if at != len(payload):
            raise Undecodable(f"frame: {len(payload) - at} bytes behind its {count} packets")
        return packets

    def decode_into(
        self,
        payload: bytes | None,
        records: npt.NDArray[Any],
        row: int,
        stream: int = 0,
        offset: int = 0,
        broker_ns: int = 0,
    ) -> None:
        """Fill `records[row]` from one packet; arguments and errors as `Decoder` says."""
        packet = payload or b""
        if len(packet) not in _LENGTHS:
            known = ", ".join(map(str, _LENGTHS))
            raise Undecodable(f"packet: expected {known} bytes, was {len(packet)}")
        token, price = _LTP.unpack_from(packet)
        decimals = _DECIMALS.get(token & 0xFF, _USUAL_DECIMALS)
        values: dict[str, Any] = {"instrument_token": token, "price": decimal_text(price, decimals)}
        kind = flag.INDEX if token & 0xFF == INDICES else flag.SNAPSHOT
        if len(packet) in (INDEX_QUOTE, INDEX_FULL):
            kind = flag.INDEX
            _read_index(packet, decimals, values)
        elif len(packet) > _LTP.size:
            _read_quote(packet, decimals, values)
        if len(packet) == FULL:
            _read_full(packet, decimals, values)
        wire = self._filler.snapshot(kind, values)
        self._filler.fill(wire, records, row, stream, offset, broker_ns)


def _read_index(packet: bytes, decimals: int, values: dict[str, Any]) -> None:
    prices = _INDEX.unpack_from(packet)[2:6]  # the seventh is the change of the price
    for name, price in zip(_ORDERS_OF_OHLC, prices, strict=True):
        values[name] = decimal_text(price, decimals)
    if len(packet) == INDEX_FULL:
        _read_time(packet, _INDEX.size, "ts_event", values)


def _read_quote(packet: bytes, decimals: int, values: dict[str, Any]) -> None:
    _, _, quantity, average, volume, buy, sell, *prices = _QUOTE.unpack_from(packet)
    values |= {
        "quantity": str(quantity),
        "average_price": decimal_text(average, decimals),
        "volume": str(volume),
        "total_buy_quantity": str(buy),
        "total_sell_quantity": str(sell),
    }
    for name, price in zip(("open", "high", "low", "close"), prices, strict=True):
        values[name] = decimal_text(price, decimals)


def _read_full(packet: bytes, decimals: int, values: dict[str, Any]) -> None:
    _, interest, high, low, _ = _FULL.unpack_from(packet, _QUOTE.size)
    values |= {
        "open_interest": interest,
        "open_interest_day_high": high,
        "open_interest_day_low": low,
    }
    _read_time(packet, _QUOTE.size, "last_trade_time", values)
    _read_time(packet, _LEVELS_AT - 4, "ts_event", values)
    levels = list(_LEVEL.iter_unpack(packet[_LEVELS_AT:]))
    for side, some in (("bid", levels[:LEVELS]), ("ask", levels[LEVELS:])):
        for n, (quantity, price, orders) in enumerate(some, start=1):
            if not price:
                continue  # zeros are how the vendor says that there is no such level
            text = decimal_text(price, decimals)
            values[f"{side}_{n}"] = text
            values[f"{side}_quantity_{n}"] = str(quantity)
            values[f"{side}_orders_{n}"] = orders
            if n == 1:
                values |= {side: text, f"{side}_quantity": str(quantity)}


def _read_time(packet: bytes, at: int, name: str, values: dict[str, Any]) -> None:
    (seconds,) = struct.unpack_from(">I", packet, at)
    if seconds:  # zero is how the vendor says that there is none
        values[name] = seconds * _SECOND_NS
