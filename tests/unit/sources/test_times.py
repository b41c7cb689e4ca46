"""By which time a message is merged behind the head, and what tells such ticks from others."""

from typing import Any

import pytest

from parity.model.ticks import CATCH_UP, TRADE
from parity.sources import synthetic
from parity.sources.codecs.binance import BinanceDecoder
from parity.sources.codecs.native import NativeDecoder
from parity.sources.decoding import Messages, decode_messages, times_of

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

    assert [5_000_000, 6_000_000, 7_000_000, 8_000_000] == times_of(decoder, messages, {7: Once()})


def test_a_tick_stands_at_its_own_time() -> None:
    """Of a good message it is ts_event, beside bad ones and alone."""
    payloads = [TICK % (TOKEN, 99), TICK % (TOKEN, 3)]
    good = Messages([*payloads], [0, 0], [0, 1], [5, 6], [])
    mixed = Messages([payloads[0], b"poison", payloads[1]], [0] * 3, [0, 1, 2], [5, 6, 7], [])

    assert [99, 3] == times_of(NativeDecoder(TABLE), good)
    assert [99, 6_000_000, 3] == times_of(NativeDecoder(TABLE), mixed)


@pytest.mark.parametrize("merged", [True, False])
def test_ticks_merged_behind_the_head_are_flagged(merged: bool) -> None:
    """CATCH_UP is set on each, and on no other."""
    messages = Messages([TICK % (TOKEN, 9), UNTIMED], [0, 0], [0, 1], [5, 6], [], merged)
    flags = decode_messages(NativeDecoder(TABLE), messages).records["flags"]

    assert [merged, merged] == [bool(bits & CATCH_UP) for bits in flags.tolist()]
    assert all(bits & TRADE for bits in flags.tolist())
