"""The native wire format: exact both ways, and nothing but Undecodable for anything else."""

import contextlib
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parity.model import ticks as flag
from parity.model.instruments import Instrument, InstrumentTable
from parity.model.ticks import COLUMNS, TICK_DTYPE, TickBatch
from parity.sources.codecs import Undecodable
from parity.sources.codecs.exact import decimal_text, integer_at_scale
from parity.sources.codecs.native import NativeDecoder, decode_into, encode, encode_batch

TABLE = InstrumentTable(
    [
        Instrument(token=7, symbol="BTCUSDT", price_scale=2, quantity_scale=8),
        Instrument(token=256265, symbol="NIFTY 50", kind="index", price_scale=2),
        Instrument(token=-9, symbol="WHOLE", price_scale=0, quantity_scale=17),
    ]
)
ON_WIRE = [n for n in COLUMNS if n not in ("seq", "stream", "offset", "sub")]
ABSENT = (
    flag.NO_BID
    | flag.NO_ASK
    | flag.NO_BID_QUANTITY
    | flag.NO_ASK_QUANTITY
    | flag.NO_VOLUME
    | flag.NO_OPEN_INTEREST
)

int64 = st.integers(-(2**63), 2**63 - 1)
exact = st.integers(-(10**18) + 1, 10**18 - 1)
kinds = st.sampled_from([flag.TRADE, flag.QUOTE, flag.INDEX, flag.SNAPSHOT])
other_bits = st.integers(0, 2**32 - 1).map(lambda bits: bits & ~flag.KIND_BITS)


@st.composite
def records(draw: st.DrawFn) -> np.ndarray:
    """Any ticks a recording can hold, absent values neutral or not."""
    rows = np.zeros(draw(st.integers(1, 4)), TICK_DTYPE)
    for row in rows:
        for name in sorted({*ON_WIRE} - {"instrument_token", "side", "trade_id", "flags"}):
            row[name] = draw(st.just(0) | (exact if name.endswith("_int") else int64))
        row["instrument_token"] = draw(st.sampled_from([7, 256265, -9]))
        row["side"] = draw(st.sampled_from([-1, 0, 1]))
        row["trade_id"] = draw(st.just(-1) | int64)
        row["flags"] = draw(kinds) | draw(other_bits)
    return rows


def decode(payload: bytes | None) -> np.void:
    """Return the one record of a message."""
    row = np.zeros(1, TICK_DTYPE)
    decode_into(payload, row, 0, TABLE)
    return row[0]


def message(**fields: object) -> bytes:
    """Return a native message of a plain trade with some fields replaced, or left out by None."""
    plain = {"instrument_token": 7, "ts_event": 5, "price": "1.5", "quantity": "2"} | fields
    return json.dumps({k: v for k, v in plain.items() if v is not None}).encode()


def envelope(**data: object) -> bytes:
    """Return a market_tick envelope."""
    plain = {"instrument_token": 256265, "last_price": 1, "timestamp": "1970-01-01T00:00:01Z"}
    return json.dumps({"id": "x", "type": "market_tick", "data": plain | data}).encode()


@pytest.mark.slow
@given(records())
def test_decode_undoes_encode(ticks: np.ndarray) -> None:
    """Encode then decode is the identity over every column on the wire, bit for bit."""
    batch = TickBatch.from_records(ticks, TABLE)
    back = np.zeros(len(ticks), TICK_DTYPE)
    decoder = NativeDecoder(TABLE, keep_verdicts=True)
    for row, payload in enumerate(encode_batch(batch)):
        assert encode(batch, row) == payload

        decoder.decode_into(payload, back, row, stream=3, offset=40 + row)

    for name in ON_WIRE:
        assert ticks[name].tolist() == back[name].tolist(), name
    assert [3] * len(ticks) == back["stream"].tolist()
    assert [40 + row for row in range(len(ticks))] == back["offset"].tolist()


@given(exact, st.integers(0, 17), st.integers(0, 5))
def test_text_and_integer_agree(value: int, scale: int, zeros: int) -> None:
    """Text of a scaled integer reads back as that integer, trailing zeros or not."""
    text = decimal_text(value, scale) + "0" * (zeros if scale else 0)

    assert value == integer_at_scale(text, scale, "price")


@given(st.binary(max_size=200))
def test_bytes_raise_only_undecodable(payload: bytes) -> None:
    """Arbitrary bytes never raise anything else."""
    with pytest.raises(Undecodable):
        decode(payload)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["data", "price", "depth", "buy", "timestamp", "last_price", "oi"]),
                inner,
                max_size=4,
            )
        ),
        max_leaves=8,
    ),
    st.sampled_from([message, envelope]),
    st.sampled_from(["price", "quantity", "flags", "ts_event", "last_price", "timestamp", "depth"]),
)
def test_wrong_values_raise_only_undecodable(value: object, build: object, field: str) -> None:
    """A well-formed message with a wrong value in any place decodes or raises Undecodable."""
    with contextlib.suppress(Undecodable):
        decode(build(**{field: value}))


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (None, "was empty"),
        (b"", "was empty"),
        (b"\xff\xfe", "message"),
        (b'{"a":' * 5000, "message"),
        (message(price="1.505"), "price: '1.505' is finer than the instrument's scale 2"),
        (message(price="10000000000000000"), "at most 18 digits at scale 2"),
        (message(price="1e3"), "expected a decimal number, was '1e3'"),
        (message(price="NaN"), "expected a decimal number"),
        (message(price="1_0"), "expected a decimal number"),
        (message(price="٣"), "expected a decimal number"),
        (message(price=" 1"), "expected a decimal number"),
        (message(price="--1"), "expected a decimal number"),
        (message(price="1."), "expected a decimal number"),
        (message(price=".5"), "expected a decimal number"),
        (message(price="9" * 9999), "expected a decimal number"),
        (message(price=1.5), "Expected `str"),
        (message(instrument_token=8), "instrument_token: 8 is not in the instrument table"),
        (message(instrument_token=None), "instrument_token: expected an integer, was absent"),
        (message(side=2), "side"),
        (message(flags=0), "exactly one kind"),
        (message(flags=flag.TRADE), "lacks no_bid"),
        (message(ts_event=2**63), "ts_event"),
        (envelope(timestamp="1970-01-01T00:00:01"), "naive"),
        (envelope(timestamp="1970-13-01T00:00:01Z"), "message"),
        (envelope(timestamp="9999-01-01T00:00:01Z"), "expected a year"),
        (envelope(last_price=0.001), "finer"),
        (b'{"type":"trading_signal","data":{}}', "expected 'market_tick'"),
    ],
)
def test_refusals_name_the_reason(payload: bytes | None, reason: str) -> None:
    """What is wrong is said, and nothing of the message is kept."""
    row = np.zeros(1, TICK_DTYPE)

    with pytest.raises(Undecodable, match=reason.replace("(", r"\(")):
        decode_into(payload, row, 0, TABLE)
    assert row.tobytes() == bytes(TICK_DTYPE.itemsize)


def test_reader_does_not_believe_verdicts() -> None:
    """A decoder for a live run clears what only its own sequencer may say."""
    row = np.zeros(1, TICK_DTYPE)
    said = flag.TRADE | ABSENT | flag.NO_TRADE_ID | flag.NO_TS_RECV
    payload = message(flags=said | flag.SEQUENCER_BITS)
    NativeDecoder(TABLE).decode_into(payload, row, 0)

    assert said & ~flag.NO_TS_RECV == row["flags"][0]


def test_flags_follow_from_what_is_there() -> None:
    """A hand-written message without flags gets them from its columns."""
    row = decode(message(trade_id=4, ts_event=None))

    absent = ABSENT | flag.NO_TS_RECV | flag.NO_VENUE_TIME
    assert flag.TRADE | absent == row["flags"]
    assert (150, 200_000_000, 4, 0) == tuple(
        row[n].item() for n in ("price_int", "quantity_int", "trade_id", "ts_event")
    )


def test_envelope_of_older_services_is_read() -> None:
    """A market_tick gives a snapshot: shortest decimal of a JSON number, ns of its zone's time."""
    depth = {
        "buy": [{"price": 23112.2, "quantity": 75, "orders": 3}],
        "sell": [{"price": 0, "quantity": 0, "orders": 0}],
    }
    row = decode(
        envelope(
            last_price=23112.3,
            timestamp="2025-01-06T14:30:00.123456789+05:30",
            volume_traded=1200,
            oi=17,
            depth=depth,
        )
    )

    assert (2311230, 2311220, 0, 75, 0, 1200, 17) == tuple(
        row[n].item()
        for n in (
            "price_int",
            "bid_int",
            "ask_int",
            "bid_quantity_int",
            "ask_quantity_int",
            "volume_int",
            "open_interest",
        )
    )
    assert 1736154000123456789 == row["ts_event"]
    absent = flag.NO_ASK | flag.NO_ASK_QUANTITY | flag.NO_QUANTITY
    assert flag.SNAPSHOT | absent | flag.NO_TS_RECV | flag.NO_TRADE_ID == row["flags"]


@pytest.mark.parametrize("price", ['"23112.30"', "23112.30", "2.311230e4"])
def test_price_of_an_envelope_may_be_text_or_number(price: str) -> None:
    """Text and number of one price give one integer."""
    payload = envelope().replace(b'"last_price": 1', b'"last_price": ' + price.encode())

    assert 2311230 == decode(payload)["price_int"]
