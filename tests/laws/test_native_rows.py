"""Native messages read by the batch are what they are when read one by one, refusals included."""

import json
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import parity.kernels.wire
from parity.model import ticks as flag
from parity.model.instruments import Instrument, InstrumentTable
from parity.model.ticks import TickBatch
from parity.sources import synthetic
from parity.sources.codecs.native import NativeDecoder, encode_batch
from parity.sources.codecs.native_rows import FEW
from parity.sources.decoding import BROKER_MS_MAX, Messages, decode_messages

TABLE = InstrumentTable(
    [
        Instrument(token=7, symbol="A", price_scale=2, quantity_scale=0),
        Instrument(token=900001, symbol="B", price_scale=8, quantity_scale=3),
        Instrument(token=-4, symbol="C", price_scale=0, quantity_scale=17),
    ]
)
LOADED = parity.kernels.wire.NAMES  # the pass is used where its library is loaded
EDGES = [0, 1, -1, 2**31, 2**32 - 1, 2**32, 10**18 - 1, 10**18, 2**63 - 1, 2**63, -(2**63), 10**19]


class OneByOne(NativeDecoder):
    """The plain reader alone."""

    def __init__(self, table: InstrumentTable, **more: Any) -> None:
        super().__init__(table, **more)
        self.read_many = None


DIGITS = st.text("0123456789", min_size=1, max_size=20)
DECIMALS = st.one_of(
    st.builds("{}.{}".format, DIGITS, DIGITS),
    st.builds("-{}.{}".format, DIGITS, st.text("0", max_size=4)),
    st.decimals(-(10**9), 10**9, places=2).map(str),
    DIGITS,
    st.text("0123456789.-+e _\u0663", max_size=12),
)
INTEGERS = st.one_of(st.integers(-3, 2**20), st.sampled_from(EDGES))
ODD = st.one_of(
    st.none(), st.booleans(), st.floats(), st.just([]), st.just({}), st.text(max_size=5)
)
BROKER_MS = st.one_of(
    st.integers(0, BROKER_MS_MAX),
    st.sampled_from([0, 1, 1_700_000_000_000, BROKER_MS_MAX - 1, BROKER_MS_MAX]),
)
KINDS = st.sampled_from([flag.TRADE, flag.QUOTE, flag.INDEX, flag.SNAPSHOT])
FLAGS = st.one_of(
    st.builds(lambda kind, bits: kind | bits << 4, KINDS, st.integers(0, 2**19 - 1)),
    st.integers(-1, 2**33),
)
VALUES = {
    "instrument_token": st.one_of(st.sampled_from([7, 900001, -4]), INTEGERS),
    "ts_event": st.one_of(st.integers(10**18, 2 * 10**18), INTEGERS),
    "side": st.integers(-2, 2),
    "flags": FLAGS,
    **dict.fromkeys(("ts_recv", "open_interest", "trade_id"), INTEGERS),
    **dict.fromkeys(
        ("price", "quantity", "bid", "ask", "bid_quantity", "ask_quantity", "volume"), DECIMALS
    ),
}
# Of such a message the plain reader makes a tick, whatever the token.
RIGHT = {
    "instrument_token": st.sampled_from([7, 900001, -4]),
    "ts_event": st.integers(10**18, 2 * 10**18),
    "side": st.integers(-1, 1),
    "flags": st.just(flag.TRADE | flag.HALTED | flag.SKEWED | (flag.NO_VENUE_TIME * 2 - 16)),
    **dict.fromkeys(("ts_recv", "open_interest", "trade_id"), st.integers(-(2**62), 2**62)),
    **dict.fromkeys(
        ("price", "quantity", "bid", "ask", "bid_quantity", "ask_quantity", "volume"),
        st.sampled_from(["0", "1", "-7", "-0"]),
    ),
}


@st.composite
def payloads(draw: st.DrawFn) -> bytes | None:
    """Draw a message: mostly right, with an odd value, name, spacing or byte here and there."""
    names = draw(st.lists(st.sampled_from(sorted(VALUES)), unique=True, max_size=14))
    if draw(st.integers(0, 9)):
        names = ["instrument_token", *(name for name in names if name != "instrument_token")]
    drawn = RIGHT if draw(st.integers(0, 2)) else VALUES
    message: dict[str, Any] = {name: draw(drawn[name]) for name in names}
    if not draw(st.integers(0, 7)):
        message[draw(st.sampled_from([*VALUES, "type", "data", "pric", "", "é"]))] = draw(ODD)
    space = draw(st.sampled_from([(",", ":"), (", ", ": "), (" ,\t", "\n:\r ")]))
    ascii_only = draw(st.booleans())
    payload = json.dumps(message, separators=space, ensure_ascii=ascii_only).encode()
    if not draw(st.integers(0, 7)):
        at = draw(st.integers(0, len(payload)))
        payload = (
            payload[:at] + draw(st.binary(max_size=3)) + payload[at + draw(st.integers(0, 2)) :]
        )
    return draw(
        st.sampled_from([payload] * 12 + [b"", None, payload + payload, b" " + payload + b"\n"])
    )


@given(st.lists(payloads(), min_size=FEW, max_size=40), st.booleans(), st.data())
def test_by_the_batch_is_one_by_one(
    messages: list[bytes | None], keep: bool, data: st.DataObject
) -> None:
    """Records, refusals with their reasons, and positions: the same, whatever the bytes."""
    count = len(messages)
    times = data.draw(st.lists(BROKER_MS, min_size=count, max_size=count))
    poll = Messages(messages, [n % 3 for n in range(count)], list(range(5, 5 + count)), times, [])
    one = decode_messages(OneByOne(TABLE, keep_verdicts=keep), poll)
    many = decode_messages(NativeDecoder(TABLE, keep_verdicts=keep), poll)

    assert np.array_equal(one.records, many.records)
    assert one.notes == many.notes
    assert one.positions == many.positions


def test_what_parity_writes_is_read_by_the_pass() -> None:
    """No message of its own encoder is left to the plain reader, nor one of a plain producer."""
    table, records = synthetic.generate(3, 3000)
    written = encode_batch(TickBatch.from_records(records, table))
    hand = [json.dumps({"instrument_token": int(table.tokens[0]), "price": f"{n}.25"}).encode()
            for n in range(50)]  # fmt: skip
    for messages in (written, hand):
        read_many = NativeDecoder(table).read_many
        assert read_many is not None
        count = len(messages)
        into = np.zeros(count, table.tick_dtype)
        assert 0 == len(read_many(messages, [0] * count, range(count), [1] * count, into))
