"""What a processor sees of the past: exactly its length, nothing of the future, nothing moving."""

from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parity.core.engine import Engine
from parity.core.executor import ExecutorPlan
from parity.core.history import History, HistoryStore, market_ticks
from parity.model import ticks as flag
from parity.model.events import EventBatch
from parity.model.ticks import TickBatch
from parity.model.values import MarketTick, StrategyConfig
from parity.testing.generators import (
    ONE,
    TABLE,
    TWO,
    cut,
    dummy_batch,
    dummy_quotes,
    event_streams,
    partitions,
)


class Looking:
    """Keeps what it is shown: the views themselves and copies of them."""

    def __init__(self, length: int) -> None:
        self.length = length
        self.seen: list[tuple[Any, ...]] = []
        self.kept: list[tuple[Any, ...]] = []

    def get_required_history_length(self) -> int:
        """Return the length asked for."""
        return self.length

    def supports_instrument(self, token: int) -> bool:
        """Take every instrument."""
        return True

    def get_strategy_name(self) -> str:
        """Return a name."""
        return "looking"

    def process_tick(self, tick: MarketTick, history: Any) -> None:
        """Look at everything."""
        ticks = list(history)
        assert len(history) == len(ticks) == self.length
        assert history[-1] is ticks[-1]
        assert history[0] is ticks[0]
        assert tick is ticks[-1]
        assert ticks[1:] == history[1:]
        assert ticks[::-2] == history[::-2]
        for index in (self.length, -self.length - 1):
            with pytest.raises(IndexError):
                history[index]
        assert [t.price for t in ticks] == history.price.tolist()
        columns = (history.price, history.price_int, history.ts_event, history.side)
        self.seen.append((tick.instrument_token, [t.price for t in ticks], ticks))
        self.kept.append((columns, [c.copy() for c in columns]))


def look(batches: Any, lengths: tuple[int, ...], on: str = "trades") -> list[Looking]:
    """Run processors of several lengths side by side."""
    made = [Looking(n) for n in lengths]
    plans = [
        ExecutorPlan(
            StrategyConfig(strategy_id=f"look{n}", strategy_type="look", on=on),
            "paper",
            lambda p=p: p,
        )
        for n, p in enumerate(made)
    ]
    engine = Engine(TABLE, plans)
    for batch in batches:
        engine.process(batch)
    assert [0] * len(made) == [e.errors for e in engine.executors]
    return made


@pytest.mark.slow
@given(event_streams(), partitions(), st.tuples(st.integers(1, 6), st.integers(1, 6)))
def test_a_history_is_the_last_ticks_and_no_more(
    events: EventBatch, sizes: list[int], lengths: tuple[int, int]
) -> None:
    """Each view has its own length, ends at the current tick, and matches the stream itself."""
    records = events.ticks.to_records()
    hidden = records["flags"] & (flag.UNDELIVERED | flag.NO_PRICE) != 0
    trades = records[~hidden & (records["flags"] & flag.TRADE_LIKE != 0)]
    for length, looking in zip(lengths, look(cut(events, sizes), lengths), strict=True):
        expected = []
        for n, row in enumerate(trades):
            token = int(row["instrument_token"])
            past = trades[: n + 1][trades[: n + 1]["instrument_token"] == token]["price_int"]
            if len(past) >= length:
                scale = TABLE.by_token(token).price_scale
                expected.append((token, [int(p) / 10**scale for p in past[-length:]]))

        assert expected == [(token, prices) for token, prices, _ in looking.seen]


def test_an_index_outside_is_refused_by_its_length() -> None:
    """It names the index and the length; what is no index raises as a list does."""
    history = History(HistoryStore(3), 3)
    history._store.ticks[:] = market_ticks(dummy_batch(5).ticks)
    history._end = 4

    assert [1, 3] == [history[at]._row for at in (-3, np.int64(2))]
    for outside in (3, -4, 1 << 80):
        with pytest.raises(IndexError, match=rf"history\[{outside}\]: expected an index below 3"):
            history[outside]
    with pytest.raises(TypeError):
        history[1.0]  # type: ignore[call-overload] # on purpose


@pytest.mark.slow
def test_what_was_shown_stays_as_it_was() -> None:
    """Columns and ticks taken at a tick are the same after thousands more, and read-only."""
    prices = np.arange(100, 12_100)
    (looking,) = look(cut(dummy_batch(12_000, price_int=prices), [5_000, 1, 3_000]), (3,))

    assert 11_998 == len(looking.kept)
    for (columns, copies), (_, values, ticks) in zip(looking.kept, looking.seen, strict=True):
        assert all((c == k).all() for c, k in zip(columns, copies, strict=True))
        assert values == [t.price for t in ticks]
    with pytest.raises(ValueError, match="read-only"):
        looking.kept[0][0][0][0] = 1.0


@pytest.mark.parametrize("size", [1, 2, 3, 7, 31, 40])
def test_columns_say_what_ticks_say_in_small_batches(size: int) -> None:
    """Also to the earlier rows of a batch in which a column is full and is cut back."""
    batches = cut(dummy_batch(1_400, price_int=np.arange(100, 1_500)), [size] * (1_400 // size))
    short, long = look(batches, (2, 20))

    assert [1_399, 1_381] == [len(short.seen), len(long.seen)]


@pytest.mark.parametrize("sizes", [[], [1] * 9, [4, 2]])
def test_quotes_are_seen_by_their_exact_mid(sizes: list[int]) -> None:
    """A quote's price is (bid + ask) / 2, exact one decimal finer; one-sided ones are not seen."""
    records = dummy_quotes(
        6, bid=[1_00, 1_00, 1_01, 0, 3_33, 2_00], ask=[1_01, 1_02, 1_02, 5, 3_36, 0]
    )
    records["flags"][3] |= flag.NO_BID
    records["flags"][5] |= flag.NO_ASK
    records["instrument_token"][2] = TWO
    events = EventBatch(TickBatch.from_records(records, TABLE))
    (looking,) = look(cut(events, sizes), (1,), on="quotes")
    shown = [t[0] for _, _, t in looking.seen]

    assert ["1.005", "1.010", "10.15", "3.345"] == [str(t.last_price) for t in shown]
    assert [float(Decimal(t.price_int).scaleb(-t.price_scale)) for t in shown] == [
        t.price for t in shown
    ]
    assert (ONE, TWO) == (shown[0].instrument_token, shown[2].instrument_token)
