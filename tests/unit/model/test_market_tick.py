"""MarketTick made by hand: three values, exact, and the same thing as a tick of a batch."""

import copy
import datetime as dt
import pickle
import warnings
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import parity as pt
from parity.core.history import market_ticks
from parity.model.errors import InputRefused, ZoneMissingWarning
from parity.model.instruments import Instrument, InstrumentTable
from parity.model.ticks import TICK_DTYPE, TRADE, TickBatch

AT = dt.datetime(2025, 1, 6, 9, 15, 0, 123456, tzinfo=dt.UTC)


@given(
    st.integers(1, 2**63 - 1),
    st.decimals(-10_000, 10_000_000, places=4),
    st.timedeltas(dt.timedelta(days=-80_000), dt.timedelta(days=80_000)).map(lambda d: AT + d),
)
def test_what_is_given_is_what_it_has(token: int, price: Decimal, at: dt.datetime) -> None:
    """Token, exact price and time come back as they were written, by name or by position."""
    tick = pt.MarketTick(instrument_token=token, last_price=price, timestamp=at)

    assert (token, price, at) == (tick.instrument_token, tick.last_price, tick.timestamp)
    assert float(price) == tick.price
    assert price == Decimal(tick.price_int).scaleb(-tick.price_scale)
    assert tick == pt.MarketTick(token, price, at)


def test_it_is_a_tick_of_a_batch() -> None:
    """Both are MarketTicks, equal by value, and answer to the same names."""
    records = np.zeros(1, TICK_DTYPE)
    records["instrument_token"], records["price_int"], records["flags"] = 7, 10_050, TRADE
    records["ts_event"], records["quantity_int"] = 1_736_154_900_123_456_000, 3
    table = InstrumentTable([Instrument(token=7, symbol="X", price_scale=2)])
    (tick,) = market_ticks(TickBatch.from_records(records, table))
    made = pt.MarketTick(7, 100.5, AT, quantity=3)

    assert isinstance(tick, pt.MarketTick)
    assert isinstance(made, pt.MarketTick)
    assert not isinstance(7, pt.MarketTick)
    assert made == tick
    assert tick == made
    assert hash(made) == hash(tick)
    assert made != pt.MarketTick(7, "100.51", AT, quantity=3)
    assert (3, 0) == (tick.quantity_int, tick.quantity_scale)
    exact = pt.MarketTick(7, 100.5, AT, quantity="0.0250")
    assert Decimal("0.025") == Decimal(exact.quantity_int).scaleb(-exact.quantity_scale)
    assert [None] * 5 == [made.bid, made.ask, made.volume, made.open_interest, made.trade_id]


def test_it_cannot_be_changed_and_can_be_copied() -> None:
    """Frozen as the seed's; copies and pickles are equal."""
    tick = pt.MarketTick(1, Decimal("0.10"), AT, quantity=2, side=-1)

    with pytest.raises(AttributeError):
        tick.price = 3.0
    assert tick == copy.copy(tick) == copy.deepcopy(tick)
    again = pickle.loads(pickle.dumps(tick))
    assert (tick, "0.10", 2.0, -1) == (again, str(again.last_price), again.quantity, again.side)


def test_a_time_without_a_zone_is_utc_and_said() -> None:
    """A naive time is read as UTC, with a warning at the caller's line."""
    with pytest.warns(ZoneMissingWarning, match="has no zone: read as UTC") as caught:
        tick = pt.MarketTick(1, 100, AT.replace(tzinfo=None))
    india = AT.astimezone(dt.timezone(dt.timedelta(hours=5, minutes=30)))

    assert [__file__] == [one.filename for one in caught]
    assert AT == tick.timestamp
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert tick.ts_event == pt.MarketTick(1, 100, india).ts_event


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ((0, 1, AT), "instrument_token: expected an integer ≥ 1, was 0"),
        ((True, 1, AT), "instrument_token"),
        ((1, "dear", AT), "last_price: expected a Decimal, was 'dear'"),
        ((1, Decimal("NaN"), AT), "last_price: expected a finite number"),
        ((1, float("inf"), AT), "last_price: expected a finite number"),
        ((1, None, AT), "last_price: expected a Decimal, was None"),
        ((1, Decimal("1e-18"), AT), "18 decimals"),
        ((1, Decimal(10**19), AT), "does not fit 64 bits"),
        ((1, 1, AT.replace(year=2300)), "timestamp: 2300.* does not fit"),
        ((1, 1, 1_736_154_900), "timestamp: expected a datetime, was 1736154900"),
    ],
)
def test_what_is_no_tick_is_refused(values: Any, words: str) -> None:
    """Each wrong value is named."""
    with pytest.raises(InputRefused, match=words):
        pt.MarketTick(*values)
