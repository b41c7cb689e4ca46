"""Fills of a venue: exact numbers, times with zones, each event once, and refusals by name."""

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parity.core.outcomes import outside_fill
from parity.sources.arrivals import Note
from parity.sources.codecs import Undecodable, fills
from parity.sources.codecs.fills import FillDecoder
from parity.sources.codecs.native import NativeDecoder
from parity.sources.decoding import Messages, decode_messages
from parity.testing.generators import ONE, TABLE

DATA: dict[str, Any] = {
    "order_id": "o-1", "strategy_id": "dip", "instrument_token": ONE, "quantity": 3,
    "fill_price": 101.25, "timestamp": "2025-01-06T09:00:00.000000001+05:30", "broker": "zerodha",
    "side": "BUY", "signal_type": "BUY", "execution_mode": "live", "fees": 0.1,
}  # fmt: skip
KEPT: dict[str, Any] = {
    "order_id": "o-1", "strategy_id": "dip", "broker": "zerodha", "instrument_token": ONE,
    "side": "BUY", "quantity": "3", "fill_price": "101.25", "fees": "0.1",
    "ts_event": 1_736_134_200_000_000_001,
}  # fmt: skip


def message(envelope: dict[str, Any] | None = None, **data: Any) -> bytes:
    """Return an envelope of a fill; None of a key leaves it out."""
    given = {k: v for k, v in (DATA | data).items() if v is not None}
    head = {"id": "e-1", "type": "order_filled", "broker": "zerodha", "version": 1}
    return msgspec.json.encode(head | (envelope or {}) | {"data": given})


def read(payload: bytes | None) -> dict[str, Any]:
    """Read one message with a fresh decoder."""
    verb, detail = FillDecoder("zerodha", TABLE).read(payload, 7_000_000)
    assert "fill" == verb
    return detail


def test_an_envelope_becomes_the_detail_of_a_control() -> None:
    """Every key the core reads is there, numbers as text, the instant in ns UTC, and its id."""
    assert KEPT | {"event_id": "e-1"} == read(message())


def test_a_payload_without_an_envelope_is_read() -> None:
    """A desk's executor that writes the payload alone is understood; there is no id to know."""
    assert KEPT == read(msgspec.json.encode(DATA))


def test_what_is_left_out_has_its_place() -> None:
    """No time is the broker's, no side is the signal's, no fees are none."""
    found = read(message(timestamp=None, side=None, fees=None, order_id=17, signal_type="SELL"))

    assert (7_000_000, "SELL", None, "17") == tuple(
        found[name] for name in ("ts_event", "side", "fees", "order_id")
    )


def test_numbers_are_their_text() -> None:
    """No float comes near a price: 30 digits of a JSON number arrive as 30 digits."""
    text = "101.123456789012345678901234567"
    body = message().replace(b"101.25", text.encode())
    done, _ = outside_fill(read(body), TABLE)

    assert Decimal(text) == done.price


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (None, "empty"),
        (b"", "empty"),
        (b"\xff\x00", "not a fill"),
        (b"[]", "not a fill"),
        (b"{}", "strategy_id"),
        (message({"type": "order_failed"}), "expected order_filled, was 'order_failed'"),
        (message(timestamp="2025-01-06T09:00:00"), "expected a zone"),
        (message(instrument_token=4), "instrument_token: expected one of the table, was 4"),
        (message(instrument_token=2**80), "not a fill"),
        (message(side="LONG"), "side: expected BUY or SELL, was 'LONG'"),
        (message(quantity=0), "above 0"),
        (message(quantity=-1), "quantity: expected a number"),
        (message(fill_price="NaN"), "fill_price: expected a number"),
        (message(fill_price="1e999"), "fill_price: expected a number"),
        (message(fees=-1), "fees: expected a number"),
        (message(order_id="x" * 300), "order_id: expected at most 256"),
        (message({"id": "x" * 300}), "id: expected at most 256"),
        (b'{"data":' * 5000, "not a fill"),
    ],
)
def test_what_is_no_fill_is_refused_by_name(payload: bytes | None, reason: str) -> None:
    """Whatever is wrong is said, and nothing of it is taken."""
    with pytest.raises(Undecodable, match=reason):
        read(payload)


def test_the_same_event_is_taken_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sender's second try is refused, also by the decoder of a restart; a bound is kept."""
    decoder = FillDecoder("zerodha", TABLE, ["e-0"])
    decoder.read(message(), 0)
    for known in ("e-0", "e-1"):
        with pytest.raises(Undecodable, match=f"id {known} came before"):
            decoder.read(message({"id": known}), 0)
    monkeypatch.setattr(fills, "IDS_MAX", 2)
    decoder.read(message({"id": "e-2"}), 0)
    decoder.read(message({"id": "e-0"}), 0)  # the oldest was let go


def test_a_restart_knows_no_more_ids_than_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a long recording it takes the newest, in their order."""
    monkeypatch.setattr(fills, "IDS_MAX", 2)
    decoder = FillDecoder("zerodha", TABLE, ["e-0", "e-1", "e-2", "e-3"])
    for known in ("e-2", "e-3"):
        with pytest.raises(Undecodable, match=f"id {known} came before"):
            decoder.read(message({"id": known}), 0)
    decoder.read(message({"id": "e-1"}), 0)


def test_a_refused_message_uses_up_no_id() -> None:
    """A fill that could not be read may be sent again, mended, under its id."""
    decoder = FillDecoder("zerodha", TABLE)
    with pytest.raises(Undecodable):
        decoder.read(message(side="LONG"), 0)
    assert "e-1" == decoder.read(message(), 0)[1]["event_id"]


@given(st.binary(max_size=200) | st.binary(max_size=60).map(lambda b: message() + b) | st.builds(
    lambda at, byte: message()[:at] + byte + message()[at + 1 :],
    st.integers(0, len(message()) - 1), st.binary(min_size=1, max_size=1)))  # fmt: skip
def test_no_bytes_end_anything(payload: bytes) -> None:
    """Random and mutated messages are a fill that the core takes, or a named refusal."""
    try:
        detail = read(payload)
    except Undecodable:
        return
    outside_fill(detail, TABLE)


def test_fills_stand_between_the_ticks_they_came_between() -> None:
    """Ticks, fills, refusals and gaps of one poll keep their order, counted in ticks."""
    tick = b'{"instrument_token":%d,"price":"1","ts_event":%d}'
    payloads = [tick % (ONE, 1), message(), tick % (ONE, 2), message(), b"poison", tick % (ONE, 3)]
    gap = Note(2, "gap", {"stream": 0, "offset": 1, "next_offset": 2, "reason": "skipped"})
    messages = Messages(payloads, [0, 1, 0, 1, 0, 0], [0, 7, 2, 8, 3, 4], [9] * 6, [gap])
    readers = {1: FillDecoder("zerodha", TABLE)}
    arrived = decode_messages(NativeDecoder(TABLE), messages, readers)

    assert [1, 2, 3] == arrived.records["ts_event"].tolist()
    assert [(1, "fill"), (1, "gap"), (2, "quarantine"), (2, "quarantine")] == [
        (note.row, note.verb) for note in arrived.notes
    ]
    assert "came before" in arrived.notes[2].detail["reason"]
    assert (8, message()) == tuple(arrived.notes[2].detail[k] for k in ("offset", "payload"))
    assert {0: 5, 1: 9} == arrived.positions


def test_a_fill_names_the_signal_that_it_began_as() -> None:
    """A child event copies its parent's correlation_id: that of our signals is their id."""
    told = [
        read(message(more))
        for more in ({"correlation_id": "abc"}, {"correlation_id": "x" * 999}, {})
    ]

    assert ["abc", None, None] == [detail.get("signal_id") for detail in told]
