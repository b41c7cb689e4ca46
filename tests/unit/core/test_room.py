"""Large segments: numbered only where asked, and in room that the next one takes over."""

import numpy as np

from parity.compose.plans import prepare
from parity.core.engine import Engine
from parity.core.room import Room
from parity.core.view import MANY_ROWS, Scan, Segment
from parity.model.events import EventBatch
from parity.model.ticks import TickBatch
from parity.model.values import StrategyConfig
from parity.settings.strategies import spec_of
from parity.testing.generators import ONE, TABLE, TWO, dummy_batch

COUNT = 2 * MANY_ROWS


def ticks_of(seed: int) -> TickBatch:
    """Return ticks of two instruments, some of the same time as the one before."""
    random = np.random.default_rng(seed)
    made = dummy_batch(
        COUNT,
        instrument_token=random.choice([ONE, TWO], COUNT),
        ts_event=seed * COUNT + np.cumsum(random.integers(0, 2, COUNT)),
        price_int=random.integers(1, 10**6, COUNT),
    )
    return made.ticks.slice(0, COUNT)


def test_ordinals_are_the_same_whenever_they_are_asked_for() -> None:
    """Of a segment that numbered nothing, and behind one that did or did not."""
    plain, lazy = Scan(len(TABLE)), Scan(len(TABLE))
    for seed in range(1, 5):
        _, expected, here = plain.survey(ticks_of(seed))
        segment = Segment(ticks_of(seed), lazy, Room())
        assert plain.snapshot() == lazy.snapshot()
        rows = [0, 1, COUNT // 2, COUNT - 1]
        assert [expected.item(row) for row in rows] == [segment.ordinal(row) for row in rows]
        assert not len(segment._ordinals)
        if seed % 2:
            assert expected.tolist() == segment.ordinals.tolist()
            assert plain.snapshot() == lazy.snapshot()
        assert np.flatnonzero(here).tolist() == segment.instruments


def test_lent_room_changes_no_value_and_is_taken_over() -> None:
    """The columns made in it are those of a batch alone; the next segment stands in the same."""
    scan, room = Scan(len(TABLE)), Room()
    for seed in (1, 2):
        segment = Segment(ticks_of(seed), scan, room)
        for name in ("inst", "price", "quantity"):
            assert ticks_of(seed).column(name).tobytes() == segment.batch.column(name).tobytes()
        assert np.shares_memory(segment.batch.column("price"), room.of("price_int", np.float64, 1))


def test_a_kept_tick_stays_what_it_was() -> None:
    """As a validator may keep one of a kernel's ticks, beside which there is no history."""
    scan, room = Scan(len(TABLE)), Room()
    kept = Segment(ticks_of(1), scan, room).view("trades").ticks
    before = [(t.price, t.price_int, t.price_scale, t.quantity_scale) for t in kept]
    Segment(ticks_of(2), scan, room).batch.column("price")
    assert before == [(t.price, t.price_int, t.price_scale, t.quantity_scale) for t in kept]
    alone = [t.price_scale for t in Segment(ticks_of(1), scan).view("trades").ticks]
    assert {s for _, _, s, _ in before} == set(alone)
    assert len(set(alone)) > 1


def test_a_batch_that_is_given_is_lent_nothing() -> None:
    """It belongs to somebody, who may look at it behind the engine, and give it to another one."""
    given = dummy_batch(COUNT, price_int=np.arange(1, COUNT + 1))
    config = StrategyConfig("k", "momentum_kernel", {"lookback_periods": 2, "threshold": 0.001})
    plans = prepare([spec_of(config)]).plans
    first, second = Engine(TABLE, plans), Engine(TABLE, plans)
    effects = first.process(given)
    assert first.report().ticks == COUNT
    assert "price" not in given.ticks._columns
    assert effects == second.process(given)


def test_a_range_of_seqs_is_the_column() -> None:
    """Whole, in slices and in rows that are taken; nothing makes the column but who asks for it."""
    ticks = dummy_batch(10).ticks
    columns = {name: ticks.column(name) for name in ticks.names}
    ranged = TickBatch({**columns, "seq": range(1, 11)}, TABLE)

    assert (ticks.names, len(ticks)) == (ranged.names, len(ranged))
    assert (1, 10) == EventBatch(ranged).bounds()
    assert [4, 5] == list(ranged.slice(3, 5).seqs)
    assert "seq" not in ranged._columns
    assert [3, 7] == ranged.take(np.array([2, 6])).column("seq").tolist()
    assert ticks.to_records().tobytes() == ranged.to_records().tobytes()
    assert ticks.names == ranged.names
