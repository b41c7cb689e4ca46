"""By which time a message is merged behind the head, and what tells such ticks from others."""

from typing import Any

import pytest

from parity.model.ticks import CATCH_UP, TRADE
from parity.recording.sequencer import MAX_SKEW_NS
from parity.sources import synthetic
from parity.sources.codecs.binance import BinanceDecoder
from parity.sources.codecs.native import NativeDecoder
from parity.sources.decoding import Messages, decode_messages, read_ahead
from parity.sources.portions import cut

TABLE = synthetic.TABLE
TOKEN = int(TABLE.tokens[0])
TICK = b'{"instrument_token":%d,"price":"1.25","ts_event":%d}'
UNTIMED = b'{"instrument_token":%d,"price":"1.25"}' % TOKEN


class Once:
    """A reader of events that nobody may ask for a time."""

    def read(self, payload: bytes | None, broker_ns: int) -> tuple[str, dict[str, Any]]:
        """Fail: what came before is remembered, so a second call would refuse it."""
        pytest.fail("read for its time")


@pytest.mark.parametrize("decoder", [NativeDecoder(TABLE), BinanceDecoder(TABLE)])
def test_what_has_no_venue_time_stands_at_the_brokers(decoder: Any) -> None:
    """A tick without ts_event, what cannot be decoded, a fill, an empty message: broker time."""
    payloads = [b"poison", UNTIMED, b'{"order_id":1}', None]
    messages = Messages(payloads, [0, 0, 7, 0], [0, 1, 2, 3], [5, 6, 7, 8], [])

    assert [5_000_000, 6_000_000, 7_000_000, 8_000_000] == read_ahead(
        decoder, messages, {7: Once()}
    )[0]


def test_a_tick_stands_at_its_own_time() -> None:
    """Of a good message it is ts_event, beside bad ones and alone."""
    payloads = [TICK % (TOKEN, 99), TICK % (TOKEN, 3)]
    good = Messages([*payloads], [0, 0], [0, 1], [5, 6], [])
    mixed = Messages([payloads[0], b"poison", payloads[1]], [0] * 3, [0, 1, 2], [5, 6, 7], [])

    assert [99, 3] == read_ahead(NativeDecoder(TABLE), good)[0]
    assert [99, 6_000_000, 3] == read_ahead(NativeDecoder(TABLE), mixed)[0]


def test_a_tick_far_ahead_stands_where_the_broker_took_it_in() -> None:
    """Beyond what the sequencer calls skewed; a message without a time is taken at its word."""
    ms = 1_764_000_000_000
    at = ms * 1_000_000
    payloads = [TICK % (TOKEN, at + ahead) for ahead in (MAX_SKEW_NS, MAX_SKEW_NS + 1, -at, 9**19)]
    messages = Messages([*payloads, payloads[1]], [0] * 5, [*range(5)], [ms] * 4 + [0], [])

    expected = [at + MAX_SKEW_NS, at, 0, at, at + MAX_SKEW_NS + 1]
    assert expected == read_ahead(NativeDecoder(TABLE), messages)[0]


class Counting:
    """A decoder that counts what it is asked to read."""

    split = None
    read_many = None
    dtype = NativeDecoder(TABLE).dtype

    def __init__(self) -> None:
        self.asked = 0
        self._inner = NativeDecoder(TABLE)

    def decode_into(self, *place: Any) -> None:
        """Read one."""
        self.asked += 1
        self._inner.decode_into(*place)


def test_behind_the_head_each_message_is_decoded_once() -> None:
    """For its time; what a next round and the loop need of it is kept, but for what is no tick."""
    decoder = Counting()
    payloads = [TICK % (TOKEN, n) for n in range(8)]
    messages = Messages(payloads, [0, 0, 7, 0] * 2, [*range(8)], [5] * 8, [])
    _, kept = read_ahead(decoder, messages, {7: Once()})
    times, again = read_ahead(decoder, kept, {7: Once()})
    pieces = cut(again, 2)
    first = decode_messages(decoder, pieces[0])

    assert ([0, 1], 8) == (first.records["ts_event"].tolist(), decoder.asked)
    assert [0, 1, 5_000_000, 3, 4, 5, 5_000_000, 7] == times


@pytest.mark.parametrize("merged", [True, False])
def test_ticks_merged_behind_the_head_are_flagged(merged: bool) -> None:
    """CATCH_UP is set on each, and on no other."""
    messages = Messages([TICK % (TOKEN, 9), UNTIMED], [0, 0], [0, 1], [5, 6], [], merged)
    flags = decode_messages(NativeDecoder(TABLE), messages).records["flags"]

    assert [merged, merged] == [bool(bits & CATCH_UP) for bits in flags.tolist()]
    assert all(bits & TRADE for bits in flags.tolist())
