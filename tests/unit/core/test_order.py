"""The order of what is decided, the ordinals, the barriers, and what a batch may hold."""

from collections.abc import Sequence
from typing import Any

import pytest

from parity.core.engine import Engine
from parity.core.executor import ExecutorPlan
from parity.model import ticks as flag
from parity.model.effects import ApprovedSignal, Transition
from parity.model.errors import ConfigError, InputRefused
from parity.model.events import Control, EventBatch
from parity.model.instruments import Instrument, InstrumentTable
from parity.model.ticks import TickBatch
from parity.model.values import SignalResult, StrategyConfig
from parity.testing.generators import (
    ONE,
    SECOND_NS,
    START_NS,
    TABLE,
    TWO,
    cut,
    dummy_batch,
    dummy_records,
)


class Always:
    """Says BUY at every tick."""

    def __init__(self, length: int = 1) -> None:
        self.length = length

    def get_required_history_length(self) -> int:
        """Return the length."""
        return self.length

    def supports_instrument(self, token: int) -> bool:
        """Take every instrument but 999."""
        return token != 999

    def get_strategy_name(self) -> str:
        """Return a name."""
        return "always"

    def process_tick(self, tick: Any, history: Any) -> SignalResult:
        """Say BUY."""
        return SignalResult("BUY", 0.5, 1, tick.price)


def plan(name: str, broker: str = "paper", length: int = 1, **config: Any) -> ExecutorPlan:
    """Return a plan of the strategy that always speaks."""
    made = StrategyConfig(strategy_id=name, strategy_type="always", **config)
    return ExecutorPlan(made, broker, lambda: Always(length))


def approved(engine: Engine, events: EventBatch, sizes: Sequence[int] = ()) -> list[ApprovedSignal]:
    """Return the approved signals over the events."""
    effects = [e for batch in cut(events, sizes) for e in engine.process(batch)]
    return [e for e in effects if isinstance(e, ApprovedSignal)]


@pytest.mark.parametrize("sizes", [(), (1, 1, 1)])
def test_decisions_merge_by_seq_strategy_and_broker(sizes: Sequence[int]) -> None:
    """All that is due at one tick comes by strategy, then broker; then the next tick."""
    plans = [plan("b"), plan("a", "zerodha"), plan("a", "paper"), plan("B")]
    said = approved(Engine(TABLE, plans), dummy_batch(2), sizes)

    keys = [("B", "paper"), ("a", "paper"), ("a", "zerodha"), ("b", "paper")]
    expected = [(seq, *key) for seq in (1, 2) for key in keys]
    assert expected == [
        (s.candidate.seq, s.candidate.strategy_id, s.candidate.broker) for s in said
    ]
    assert list(range(1, 9)) == [s.signal_no for s in said]


@pytest.mark.parametrize("sizes", [(), (1,) * 9, (4,)])
def test_ordinals_number_equal_times_of_one_instrument(sizes: Sequence[int]) -> None:
    """Consecutive ticks of equal (token, ts_event) count up; undelivered ones do not count."""
    token = [ONE, ONE, TWO, ONE, ONE, TWO, ONE, ONE, ONE]
    at = [0, 0, 0, 0, 1, 0, 1, 0, 0]
    flags = [flag.TRADE] * 9
    flags[1] |= flag.DUPLICATE
    events = dummy_batch(
        9, instrument_token=token, ts_event=[START_NS + t for t in at], flags=flags
    )
    said = approved(Engine(TABLE, [plan("a")]), events, sizes)

    assert [0, 0, 1, 0, 1, 1, 0, 1] == [s.candidate.ordinal for s in said]
    assert 2 not in [s.candidate.seq for s in said]


def test_a_skewed_tick_moves_no_clock() -> None:
    """What is not delivered neither fills, nor marks, nor advances the decide clock."""
    ts = [START_NS, START_NS + 10**15, START_NS + 10**9]
    flags = [flag.TRADE, flag.TRADE | flag.SKEWED, flag.TRADE]
    engine = Engine(TABLE, [plan("a", parameters={"risk": {"cooldown_sec": 5}})])
    said = approved(engine, dummy_batch(3, ts_event=ts, flags=flags))

    assert [1] == [s.candidate.seq for s in said]
    assert (3, 1) == (engine.report().ticks, engine.report().undelivered)
    assert START_NS + 10**9 == engine.executors[0].clock


@pytest.mark.parametrize("sizes", [(), (1,) * 9, (3,)])
def test_a_tick_without_venue_time_moves_no_clock(sizes: Sequence[int]) -> None:
    """It is delivered, but its time is a broker's; where the table says so, it is the clock."""
    seconds = [0, 100, 2, 200, 4, 6]
    flags = [flag.TRADE | (flag.NO_VENUE_TIME if s >= 100 else 0) for s in seconds]
    ts_event = [START_NS + s * SECOND_NS for s in seconds]
    events = dummy_batch(6, ts_event=ts_event, flags=flags)
    config = {"risk": {"cooldown_sec": 5}}
    engine = Engine(TABLE, [plan("a", parameters=config)])
    by_recv = InstrumentTable(
        [Instrument(token=ONE, symbol="X", price_scale=2, quantity_scale=3, clock="recv")]
    )
    other = Engine(by_recv, [plan("a", parameters=config)])
    ticks = TickBatch.from_records(events.ticks.to_records(), by_recv)

    assert [1, 6] == [s.candidate.seq for s in approved(engine, events, sizes)]
    assert START_NS + 6 * SECOND_NS == engine.executors[0].clock
    assert [1, 2, 4] == [s.candidate.seq for s in approved(other, EventBatch(ticks), sizes)]


@pytest.mark.parametrize("sizes", [(), (1,) * 9])
def test_controls_are_counted_and_change_nothing_yet(sizes: Sequence[int]) -> None:
    """A gap between ticks is a barrier inside a batch: effects are as without it."""
    controls = [Control(seq=s, ts_recv=0, verb="gap", detail={}) for s in (1, 4, 6)]
    events = dummy_batch(3, seq=[2, 3, 5], controls=controls)
    engine, plain = Engine(TABLE, [plan("a")]), Engine(TABLE, [plan("a")])
    said = approved(engine, events, sizes)

    assert said == approved(plain, dummy_batch(3, seq=[2, 3, 5]))
    assert {"gap": 3} == engine.report().controls
    assert 6 == engine.last_seq


def test_events_are_taken_once_and_in_order() -> None:
    """A batch that reaches back is refused, whether by a tick or by a control."""
    engine = Engine(TABLE, [plan("a")])
    engine.process(dummy_batch(3))
    control = Control(seq=2, ts_recv=0, verb="gap", detail={})
    later = Control(seq=9, ts_recv=0, verb="gap", detail={})
    for events in (
        dummy_batch(1, seq=3),
        dummy_batch(1, seq=4, controls=[control]),
        dummy_batch(0, controls=[control, later]),
    ):
        with pytest.raises(ValueError, match="behind 3 already processed"):
            engine.process(events)
    assert [] == engine.process(dummy_batch(0))
    assert 3 == engine.ticks


def test_an_unknown_instrument_is_refused() -> None:
    """A tick that is not in the table names its token and the cure."""
    with pytest.raises(InputRefused, match=r"777.*--instrument-table"):
        Engine(TABLE, [plan("a")]).process(dummy_batch(2, instrument_token=[ONE, 777]))


@pytest.mark.parametrize("sizes", [(), (1,) * 9])
def test_the_first_warm_instrument_makes_it_active(sizes: Sequence[int]) -> None:
    """INIT, WARMUP at the first tick, ACTIVE when one instrument has its history."""
    token = [TWO, ONE, TWO, ONE, ONE, TWO]
    engine = Engine(TABLE, [plan("a", length=3)])
    events = dummy_batch(6, instrument_token=token)
    effects = [e for batch in cut(events, sizes) for e in engine.process(batch)]
    moved = [(e.seq, e.was, e.now) for e in effects if isinstance(e, Transition)]
    said = [e.candidate.seq for e in effects if isinstance(e, ApprovedSignal)]

    assert [(1, "INIT", "WARMUP"), (5, "WARMUP", "ACTIVE")] == moved
    assert [5, 6] == said


def test_a_strategy_stays_with_its_instruments() -> None:
    """It sees what it is configured for; naming nothing it supports is refused."""
    said = approved(
        Engine(TABLE, [plan("a", instrument_tokens=(TWO,))]),
        dummy_batch(4, instrument_token=[ONE, TWO, ONE, TWO]),
    )

    assert [2, 4] == [s.candidate.seq for s in said]
    with pytest.raises(ConfigError, match="777"):
        Engine(TABLE, [plan("a", instrument_tokens=(777,))])
    with pytest.raises(ConfigError, match="a stands twice at paper"):
        Engine(TABLE, [plan("a"), plan("a")])


def test_a_checkpoint_of_others_is_refused() -> None:
    """State goes back only into the strategies it came from."""
    state = Engine(TABLE, [plan("a")]).snapshot()

    with pytest.raises(ConfigError, match=r"other strategies.*\['b', 'paper'\]"):
        Engine(TABLE, [plan("b")]).restore(state)
    with pytest.raises(ConfigError, match="other strategies"):
        Engine(TABLE, [plan("a"), plan("b")]).restore(state)
    with pytest.raises(ConfigError, match=r"\['a', 'paper'\]: no such strategy runs"):
        Engine(TABLE, []).restore(state)
    with pytest.raises(ConfigError, match=r"format 1, this version reads 3") as old:
        Engine(TABLE, [plan("a")]).restore({**state, "format": 1})
    assert "begin anew" in old.value.cure


def test_trades_and_quotes_do_not_mix() -> None:
    """`on: trades` sees trades, index and snapshots with a price; `on: quotes` the rest."""
    quote = flag.QUOTE | flag.NO_PRICE
    flags = [flag.TRADE, quote, flag.SNAPSHOT, flag.SNAPSHOT | flag.NO_PRICE, flag.INDEX, quote]
    records = dummy_records(6, flags=flags, bid_int=99_00, ask_int=101_00)
    events = EventBatch(TickBatch.from_records(records, TABLE))
    seen = {on: [] for on in ("trades", "quotes")}  # type: dict[str, list[int]]
    for on in seen:
        seen[on] = [s.candidate.seq for s in approved(Engine(TABLE, [plan("a", on=on)]), events)]

    assert {"trades": [1, 3, 5], "quotes": [2, 6]} == seen
