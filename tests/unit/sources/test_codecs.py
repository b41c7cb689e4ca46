"""The vendors' codecs by hand-made messages: what each field means, and every refusal by name."""

import json
import struct
from typing import Any, get_args

import msgspec
import numpy as np
import pytest

from parity.model import ticks as flag
from parity.model.errors import ConfigError
from parity.model.extensions import Extension
from parity.model.instruments import Instrument, InstrumentTable
from parity.model.ticks import TickBatch
from parity.settings.settings import Settings
from parity.sources import synthetic
from parity.sources.codecs.native import MSGPACK, NativeDecoder, encode_batch
from parity.sources.codecs.registry import CODECS, decoder_of
from parity.sources.decoding import Messages, decode_messages

TABLE = InstrumentTable(
    [
        Instrument(token=256265, symbol="NIFTY 50", kind="index", price_scale=2),
        Instrument(token=408065, symbol="INFY", kind="equity", price_scale=2),
        Instrument(token=0x103, symbol="USDINR", kind="future", price_scale=7),
        Instrument(token=0x106, symbol="BOND", kind="future", price_scale=4),
        Instrument(token=1, symbol="BTCUSDT", venue="BINANCE-SPOT", price_scale=2,
                   quantity_scale=5),
        Instrument(token=2, symbol="BTCUSDT", venue="BINANCE-USDM", kind="perp", price_scale=1,
                   quantity_scale=3),
        Instrument(token=3, symbol="BTCUSD_PERP", kind="inverse", price_scale=1),
        Instrument(token=4, symbol="ETHUSDT", venue="KRAKEN", price_scale=2),
    ],
    [Extension(name, "price") for name in ("open", "high", "low", "close")],
)  # fmt: skip
SPOT_TRADE = {"e": "trade", "E": 9, "s": "BTCUSDT", "t": 5, "p": "61837.63000000",
              "q": "0.02000000", "T": 1723161255342, "m": True, "M": True}  # fmt: skip
TRADE = {"e": "trade", "E": 9, "T": 1723161255342, "s": "BTCUSDT", "t": 6, "p": "61800.30",
         "q": "0.006", "X": "MARKET", "m": False}  # fmt: skip
BOOK = {"u": 7, "s": "BTCUSDT", "b": "61837.63", "B": "3.78", "a": "61837.64", "A": "1.5"}
KITE = {"mode": "full", "instrument_token": 408065, "last_price": 1573.7}


def read(codec: str, *payloads: bytes | None, zone: str | None = None) -> Any:
    """Return the arrivals of messages at offsets from 0."""
    count = len(payloads)
    messages = Messages([*payloads], [0] * count, [*range(count)], [7] * count, [])
    return decode_messages(decoder_of(codec, TABLE, zone), messages)


def one(codec: str, message: Any, zone: str | None = None) -> Any:
    """Return the only tick of one message."""
    payload = message if isinstance(message, bytes) else json.dumps(message).encode()
    found = read(codec, payload, zone=zone)
    assert [] == found.notes
    (tick,) = found.records
    return tick


def reason(codec: str, message: Any, zone: str | None = None) -> str:
    """Return why a message gave no tick."""
    payload = message if isinstance(message, bytes) else json.dumps(message).encode()
    found = read(codec, payload, zone=zone)
    assert 0 == len(found.records)
    (note,) = found.notes
    assert payload == note.detail["payload"]
    return str(note.detail["reason"])


def frame(*packets: bytes) -> bytes:
    """Return a frame of Kite packets."""
    return struct.pack(">H", len(packets)) + b"".join(
        struct.pack(">H", len(p)) + p for p in packets
    )


def integers(*values: int) -> bytes:
    """Return big-endian integers of four bytes."""
    return struct.pack(f">{len(values)}I", *values)


# -- Binance


def test_the_market_of_a_message_is_its_shape() -> None:
    """Spot and perpetual of one symbol, and the inverse one, never become each other's tick."""
    spot, linear = one("binance", SPOT_TRADE), one("binance", TRADE)
    inverse = one("binance", TRADE | {"s": "BTCUSD_PERP", "p": "61804.8", "q": "4"})

    assert (1, 6183763, 2000, -1, 5) == tuple(
        spot[n] for n in ("instrument_token", "price_int", "quantity_int", "side", "trade_id")
    )
    assert (2, 618003, 6, 1, 6) == tuple(
        linear[n] for n in ("instrument_token", "price_int", "quantity_int", "side", "trade_id")
    )
    assert (3, 618048, 4) == tuple(
        inverse[n] for n in ("instrument_token", "price_int", "quantity_int")
    )
    assert {1723161255342_000_000} == {int(t["ts_event"]) for t in (spot, linear, inverse)}
    assert flag.TRADE == spot["flags"] & flag.KIND_BITS


def test_a_combined_stream_is_its_data() -> None:
    """Wrapped or bare, a message is one tick; the name says what the data leaves out."""
    wrapped = {"stream": "btcusdt@trade", "data": SPOT_TRADE}
    less = {k: v for k, v in SPOT_TRADE.items() if k not in "es"}

    assert one("binance", SPOT_TRADE).tolist() == one("binance", wrapped).tolist()
    assert (
        one("binance", SPOT_TRADE).tolist()
        == one("binance", {"stream": "btcusdt@trade", "data": less}).tolist()
    )


def test_microseconds_are_told_by_their_digits() -> None:
    """Spot may be asked for them; any other number of digits is refused."""
    assert 1723161255342123_000 == one("binance", SPOT_TRADE | {"T": 1723161255342123})["ts_event"]
    assert "13 or 16 digits" in reason("binance", SPOT_TRADE | {"T": 1723161255})


def test_an_empty_side_of_a_book_is_absent() -> None:
    """A bookTicker with zeros on one side has a quote of the other."""
    tick = one("binance", BOOK | {"a": "0.00000000", "A": "0.00000000"})

    assert (6183763, 0) == (tick["bid_int"], tick["ask_int"])
    absent = flag.NO_ASK | flag.NO_ASK_QUANTITY | flag.NO_VENUE_TIME | flag.NO_PRICE
    assert absent | flag.QUOTE == tick["flags"] & (absent | flag.NO_BID | flag.KIND_BITS)


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ({"result": None, "id": 1}, "e: expected trade, aggTrade or bookTicker, was absent"),
        ({"e": "kline", "s": "BTCUSDT"}, "was 'kline'"),
        ({"stream": "x@depth", "data": {"e": "depthUpdate", "b": [], "a": []}}, "'depthUpdate'"),
        (TRADE | {"X": "INSURANCE_FUND"}, "X: expected MARKET, was 'INSURANCE_FUND'"),
        (TRADE | {"s": "DOGEUSDT"}, "s: 'DOGEUSDT' of linear perpetual is not in the instrument"),
        (SPOT_TRADE | {"s": "ETHUSDT"}, "s: 'ETHUSDT' of spot is not in the instrument table"),
        (TRADE | {"p": "61800.35"}, "price: '61800.35' is finer than the instrument's scale 1"),
        (TRADE | {"p": 61800.3}, "Expected `str"),
        ({k: v for k, v in TRADE.items() if k != "m"}, "m: expected a value, was absent"),
        ({k: v for k, v in TRADE.items() if k != "t"}, "t: expected an integer, was absent"),
        ({k: v for k, v in TRADE.items() if k != "s"}, "s: expected a symbol, was absent"),
        ({k: v for k, v in TRADE.items() if k != "T"}, "T: expected a value, was absent"),
        (BOOK | {"B": None}, "B: expected a decimal as text, was absent"),
        (BOOK | {"b": "x"}, "bid: expected a decimal number, was 'x'"),
        (TRADE | {"e": "aggTrade", "a": 2**63}, "Expected"),
        (TRADE | {"T": 9999999999999999}, "T: expected ms or"),
        (b"", "message: expected an event, was empty"),
        (b"[1]", "message: Expected"),
    ],
)
def test_what_is_no_tick_of_binance_says_why(message: Any, said: str) -> None:
    """Other events, other markets' trades and wrong values, each with its field."""
    assert said in reason("binance", message)


def test_one_symbol_and_market_is_one_instrument() -> None:
    """A table with two of them is refused before the first message."""
    table = InstrumentTable([Instrument(token=n, symbol="BTCUSDT", price_scale=2) for n in (1, 2)])

    with pytest.raises(ConfigError, match="BTCUSDT of spot stands twice, as tokens 1 and 2"):
        decoder_of("binance", table)


# -- Kite, as JSON


def test_naive_times_of_kite_need_a_zone() -> None:
    """With one they are exact; without one they are refused; aware ones need none."""
    naive = KITE | {"exchange_timestamp": "2025-01-06 14:30:00"}
    aware = KITE | {"exchange_timestamp": "2025-01-06T14:30:00+05:30"}

    wanted = 1736154000_000_000_000
    assert wanted == one("kite", naive, "Asia/Kolkata")["ts_event"]
    assert wanted == one("kite", aware)["ts_event"] == one("kite", aware, "UTC")["ts_event"]
    assert "the naive '2025-01-06 14:30:00'" in reason("kite", naive)
    assert "twice or never" in reason(
        "kite", KITE | {"timestamp": "2025-10-26 01:30:00"}, "Europe/London"
    )
    assert "twice or never" in reason(
        "kite", KITE | {"timestamp": "2025-03-30 01:30:00"}, "Europe/London"
    )


def test_a_list_of_ticks_loses_only_the_bad_one() -> None:
    """Each dict of a list is a tick of its own place; one quarantine names the first bad part."""
    good, index = KITE, {"instrument_token": 256265, "last_price": 23112.3}
    payload = json.dumps([good, {"instrument_token": 5, "last_price": 1}, index, {}]).encode()
    found = read("kite", payload, json.dumps(good).encode())

    assert [(408065, 0, 0), (256265, 0, 2), (408065, 1, 0)] == [
        (t["instrument_token"], t["offset"], t["sub"]) for t in found.records
    ]
    assert flag.INDEX == found.records["flags"][1] & flag.KIND_BITS
    (note,) = found.notes
    assert (2, 0) == (note.row, note.detail["offset"])
    said = note.detail["reason"]
    assert said.startswith("part 2 of 4: instrument_token: 5 is not in the instrument table")
    assert said.endswith("; and 1 more")
    assert {0: 2} == found.positions


def test_new_keys_of_kite_come_before_old_ones() -> None:
    """A tick that has both generations is read by the newer."""
    tick = one("kite", KITE | {"volume_traded": 7, "volume": 9, "last_quantity": 4})

    assert (7, 4) == (tick["volume_int"], tick["quantity_int"])


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (KITE | {"last_price": "x"}, "price: expected a decimal number, was 'x'"),
        (KITE | {"last_price": None}, "message: Expected"),
        (KITE | {"last_price": 1573.705}, "finer than the instrument's scale 2"),
        ({"instrument_token": 408065}, "missing required field `last_price`"),
        (KITE | {"depth": {"buy": 5}}, "message: Expected `array`"),
        (KITE | {"timestamp": 1736154000}, "message: Expected `str"),
        (b"", "expected a tick, was empty"),
        (b"[", "message: "),
        (b"[]x", "message: "),
    ],
)
def test_what_is_no_tick_of_kite_says_why(message: Any, said: str) -> None:
    """Each refusal has its field and value."""
    assert said in reason("kite", message)


# -- Kite, binary


def test_packets_of_a_frame_are_ticks() -> None:
    """The length says what a packet is; prices have the decimals of their segment."""
    index = integers(256265, 2311230, 2320000, 2300000, 2305000, 2299000, 0, 1736154000)
    found = read(
        "kite-binary",
        frame(index[:8], index[:28], index, integers(0x103, 835012345), integers(0x106, 1000001)),
    )
    ltp, quote, full, rupee, bond = found.records

    assert [] == found.notes
    assert [0, 1, 2, 3, 4] == found.records["sub"].tolist()
    assert {flag.INDEX} == {t["flags"] & flag.KIND_BITS for t in (ltp, quote, full)}
    assert (2311230, 7_000_000, 0) == (ltp["price_int"], ltp["ts_event"], ltp["present"])
    assert [2305000, 2320000, 2300000, 2299000] == [
        full[f"{name}_int"] for name in ("open", "high", "low", "close")
    ]
    assert (7_000_000, 1736154000_000_000_000) == (quote["ts_event"], full["ts_event"])
    assert (835012345, 1000001) == (rupee["price_int"], bond["price_int"])


def test_a_heartbeat_holds_nothing() -> None:
    """A frame of one byte gives no tick and no refusal, and the offset moves on."""
    found = read("kite-binary", b"\x00")

    assert (0, [], {0: 1}) == (len(found.records), found.notes, found.positions)


def test_a_bad_packet_leaves_its_neighbours_alone() -> None:
    """An unknown token and an unknown length cost one note; the packets around them are read."""
    packets = [integers(408065, n) for n in (1, 2, 3)]
    found = read("kite-binary", frame(packets[0], integers(9, 9), packets[1], b"abc", packets[2]))

    assert [1, 2, 3] == found.records["price_int"].tolist()
    assert [0, 2, 4] == found.records["sub"].tolist()
    (note,) = found.notes
    assert "part 2 of 5: instrument_token: 9 is not" in note.detail["reason"]
    assert note.detail["reason"].endswith("; and 1 more")


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (b"", "frame: expected packets, was empty"),
        (frame(integers(408065, 5)) + b"x", "1 bytes behind its 1 packets"),
        (frame(integers(408065, 5))[:-1], "expected 8 bytes, the frame ends 1 before"),
        (b"\x00\x02" + frame(integers(408065, 5))[2:], "ends behind 1 of them"),
        (frame(b"x" * 45), "packet: expected 8, 28, 32, 44, 184 bytes, was 45"),
        (integers(408065, 5), "frame: "),
    ],
)
def test_a_frame_that_does_not_add_up_is_refused_whole(payload: bytes, said: str) -> None:
    """Where lengths are wrong, nothing says which bytes are a packet."""
    assert said in reason("kite-binary", payload)


# -- native, and the registry


def test_msgpack_carries_what_json_carries() -> None:
    """One batch in both packings decodes to the same records, an envelope too."""
    table, records = synthetic.generate(ticks=300)
    batch = TickBatch.from_records(records, table)
    found = []
    for packing in ("json", MSGPACK):
        back = np.zeros(300, table.tick_dtype)
        decoder = NativeDecoder(table, packing=packing)
        for row, payload in enumerate(encode_batch(batch, packing)):
            decoder.decode_into(payload, back, row)
        found.append(back)

    assert found[0].tobytes() == found[1].tobytes()
    assert records["price_int"].tolist() == found[1]["price_int"].tolist()
    data = {"instrument_token": 408065, "last_price": 1573.7, "timestamp": "2025-01-06T09:00:00Z"}
    envelope = {"type": "market_tick", "data": data | {"ohlc": {"open": 1569.15}}}
    packed = one("native-msgpack", msgspec.msgpack.encode(envelope))
    assert packed.tolist() == one("native", envelope).tolist()
    assert (157370, 156915) == (packed["price_int"], packed["open_int"])


def test_a_codec_is_chosen_by_name() -> None:
    """The setting knows exactly the registry's names; a wrong name or zone is named with a cure."""
    assert set(CODECS) == set(get_args(Settings.model_fields["codec"].annotation))
    for name in CODECS:
        assert TABLE.tick_dtype == decoder_of(name, TABLE).dtype
    with pytest.raises(ConfigError, match="no such codec 'binanse'") as caught:
        decoder_of("binanse", TABLE)
    assert "binance" in caught.value.cure
    with pytest.raises(ConfigError, match="no time zone 'Mars/Olympus'"):
        decoder_of("kite", TABLE, "Mars/Olympus")
    with pytest.raises(ConfigError, match="'binance' has no naive times"):
        decoder_of("binance", TABLE, "UTC")
