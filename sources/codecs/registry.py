"""The codecs by name: what `--codec` and the setting of that name choose from."""

from __future__ import annotations

import zoneinfo
from typing import TYPE_CHECKING, Final

from parity.model.errors import ConfigError, did_you_mean
from parity.sources.codecs.binance import BinanceDecoder
from parity.sources.codecs.kite import KiteDecoder
from parity.sources.codecs.kite_binary import KiteBinaryDecoder
from parity.sources.codecs.native import JSON, MSGPACK, NativeDecoder

if TYPE_CHECKING:
    from parity.model.instruments import InstrumentTable
    from parity.sources.arrivals import Decoder

NATIVE: Final = "native"
# name -> what its messages are, for help and errors
CODECS: Final[dict[str, str]] = {
    NATIVE: "our own columns, or a market_tick envelope, as JSON",
    "native-msgpack": "the same as msgpack",
    "kite": "tick dicts of Zerodha's Python client as JSON, one or a list",
    "kite-binary": "frames of Zerodha's websocket",
    "binance": "trade, aggTrade and bookTicker of Binance's websockets, bare or combined",
}
ZONED: Final = ("kite",)  # whose times may be naive


def decoder_of(name: str, table: InstrumentTable, zone: str | None = None) -> Decoder:
    """Return a new decoder.

    Args:
        name: one of CODECS.
        table: the recording's instruments.
        zone: of naive times; None refuses them.

    Raises:
        ConfigError: no such codec or zone, or a codec that has no naive times.
    """
    if name not in CODECS:
        raise ConfigError(f"codec: no such codec {name!r}", cure=did_you_mean(name, CODECS))
    if zone is not None and name not in ZONED:
        raise ConfigError(
            f"--tz: codec {name!r} has no naive times", cure=f"leave it out; {ZONED[0]} takes it"
        )
    if name == "binance":
        return BinanceDecoder(table)
    if name == "kite-binary":
        return KiteBinaryDecoder(table)
    if name == "kite":
        return KiteDecoder(table, zone=None if zone is None else _zone(zone))
    return NativeDecoder(table, packing=JSON if name == NATIVE else MSGPACK)


def _zone(name: str) -> zoneinfo.ZoneInfo:
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise ConfigError(
            f"--tz: no time zone {name!r} on this machine", cure="use a name such as Asia/Kolkata"
        ) from None
