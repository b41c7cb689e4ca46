"""The sequencer: seq without gaps, verdicts by rule, the same through a snapshot."""

from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pytest

from parity.model import ticks as flag
from parity.model.errors import InputRefused
from parity.model.events import Control, EventBatch
from parity.model.instruments import Instrument, InstrumentTable
from parity.model.ticks import TICK_DTYPE, TickBatch
from parity.recording import passes
from parity.recording import sequencer as module
from parity.recording.sequencer import Sequencer

VERDICTS = flag.DUPLICATE | flag.SKEWED | flag.LATE
PLAIN = flag.TRADE | flag.NO_TRADE_ID
SECOND = 1_000_000_000


def ticks(*rows: dict[str, int]) -> npt.NDArray[Any]:
    """Make records from the fields that matter; token 7, no stream, no trade id by default."""
    records = np.zeros(len(rows), TICK_DTYPE)
    for record, row in zip(records, rows, strict=True):
        usual = {"instrument_token": 7, "stream": -1, "flags": PLAIN, "ts_recv": 100 * SECOND}
        for name, value in (usual | row).items():
            record[name] = value
    return records


@pytest.fixture(params=["numpy", "compiled", "loop"])
def sequencer(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, table: InstrumentTable
) -> Sequencer:
    """A sequencer that takes one of its three ways."""
    few = 10**6 if request.param == "loop" else 1
    monkeypatch.setattr(module, "SMALL", few)
    monkeypatch.setattr(module, "FEW", few)
    monkeypatch.setattr(passes, "are_loaded", lambda: request.param == "compiled")
    return Sequencer(table)


def verdicts(records: npt.NDArray[Any]) -> list[int]:
    """The verdict bits of each record."""
    return [int(f) & VERDICTS for f in records["flags"]]


def test_seq_has_no_gaps_over_ticks_and_controls(sequencer: Sequencer) -> None:
    """Ticks and controls draw from one counter that starts at 1."""
    first = sequencer.sequence(ticks({}, {}))
    control = sequencer.take_seq()
    second = sequencer.sequence(ticks({}))

    assert [1, 2, 3, 4] == [*first["seq"], control, *second["seq"]]


def test_late_is_behind_the_newest_of_the_same_instrument(sequencer: Sequencer) -> None:
    """A tick is late against its own instrument only; equal times are not late."""
    rows = [(7, 10), (7, 20), (9, 5), (7, 19), (7, 20), (9, 4)]
    found = sequencer.sequence(ticks(*({"instrument_token": t, "ts_event": e} for t, e in rows)))

    assert [0, 0, 0, flag.LATE, 0, flag.LATE] == verdicts(found)


def test_skewed_tick_advances_nothing(sequencer: Sequencer) -> None:
    """A tick from the far future is marked and does not make the next ones late."""
    found = sequencer.sequence(
        ticks({"ts_event": 105 * SECOND + 1}, {"ts_event": 105 * SECOND}, {"ts_event": 7})
    )

    assert [flag.SKEWED, 0, flag.LATE] == verdicts(found)


@pytest.mark.parametrize("absent", [flag.NO_TS_RECV, flag.NO_VENUE_TIME])
def test_skew_is_not_judged_without_both_times(sequencer: Sequencer, absent: int) -> None:
    """Where a time is absent there is nothing to compare."""
    found = sequencer.sequence(ticks({"ts_event": 999 * SECOND, "flags": PLAIN | absent}))

    assert [0] == verdicts(found)


def test_tick_without_venue_time_is_never_late_and_advances_nothing(sequencer: Sequencer) -> None:
    """Its time is ours, so it says nothing about the venue's order."""
    timeless = PLAIN | flag.NO_VENUE_TIME
    found = sequencer.sequence(
        ticks(
            {"ts_event": 10},
            {"ts_event": 50, "flags": timeless},
            {"ts_event": 5, "flags": timeless},
            {"ts_event": 11},
        )
    )

    assert [0, 0, 0, 0] == verdicts(found)


def test_clock_recv_makes_our_time_the_instruments_time(sequencer: Sequencer) -> None:
    """Where a feed never has venue time, late is judged by the time it has."""
    timeless = {"instrument_token": 12, "flags": PLAIN | flag.NO_VENUE_TIME}
    found = sequencer.sequence(ticks({"ts_event": 10, **timeless}, {"ts_event": 9, **timeless}))

    assert [0, flag.LATE] == verdicts(found)


def test_duplicate_by_stream_offset_and_sub(sequencer: Sequencer) -> None:
    """Ticks of one message differ by sub; a place seen before, or behind it, is a duplicate."""
    places = [(0, 5, 0), (0, 5, 1), (1, 5, 0), (0, 5, 1), (0, 4, 9), (0, 8, 0), (-1, 0, 0)]
    found = sequencer.sequence(ticks(*({"stream": s, "offset": o, "sub": b} for s, o, b in places)))

    assert [0, 0, 0, flag.DUPLICATE, flag.DUPLICATE, 0, 0] == verdicts(found)


def test_duplicate_does_not_advance_time_and_is_not_late(sequencer: Sequencer) -> None:
    """What executors never see cannot make others late."""
    found = sequencer.sequence(
        ticks(
            {"stream": 0, "offset": 1, "ts_event": 10},
            {"stream": 0, "offset": 1, "ts_event": 90},
            {"stream": 0, "offset": 1, "ts_event": 1},
            {"stream": 0, "offset": 2, "ts_event": 11},
        )
    )

    assert [0, flag.DUPLICATE, flag.DUPLICATE, 0] == verdicts(found)


def test_duplicate_by_trade_id_per_token(sequencer: Sequencer) -> None:
    """The same id of another token, or no id at all, is no duplicate."""
    rows = [(7, 5), (9, 5), (7, 4), (7, 5), (7, 6), (7, 4)]
    found = sequencer.sequence(
        ticks(
            *({"instrument_token": t, "trade_id": i, "flags": flag.TRADE} for t, i in rows),
            {"trade_id": 5},
        )
    )

    assert [0, 0, 0, flag.DUPLICATE, 0, flag.DUPLICATE, 0] == verdicts(found)


def test_equal_values_are_no_duplicates(sequencer: Sequencer) -> None:
    """Exact repeats can be real trades: nothing is judged by value."""
    found = sequencer.sequence(ticks(*[{"ts_event": 5, "price_int": 1}] * 40))

    assert [0] * 40 == verdicts(found)


@pytest.fixture
def three_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep three trade ids of an instrument; before a sequencer is made."""
    monkeypatch.setattr(module, "TRADE_IDS_KEPT", 3)


def test_trade_ids_are_remembered_up_to_a_bound(three_ids: None, sequencer: Sequencer) -> None:
    """The oldest id leaves first; the bound counts different ids."""
    ids = [1, 2, 3, 1, 4, 1, 3]  # 4 pushes 1 out, then 1 pushes 2 out
    found = sequencer.sequence(ticks(*({"trade_id": i, "flags": flag.TRADE} for i in ids)))

    assert [0, 0, 0, flag.DUPLICATE, 0, 0, flag.DUPLICATE] == verdicts(found)


def test_verdicts_brought_along_are_judged_anew(sequencer: Sequencer) -> None:
    """CATCH_UP and WARMUP are the source's; the verdicts are the sequencer's alone."""
    flags = PLAIN | VERDICTS | flag.CATCH_UP | flag.WARMUP
    found = sequencer.sequence(ticks({"flags": flags}))

    assert PLAIN | flag.CATCH_UP | flag.WARMUP == int(found["flags"][0])


def test_unknown_token_is_refused_and_changes_nothing(sequencer: Sequencer) -> None:
    """A refused batch takes no seq."""
    with pytest.raises(InputRefused, match="token 8"):
        sequencer.sequence(ticks({}, {"instrument_token": 8}))

    assert 1 == sequencer.next_seq


def test_read_only_records_are_copied(sequencer: Sequencer) -> None:
    """Bytes that came from elsewhere are never written to."""
    given = np.frombuffer(ticks({}, {}).tobytes(), TICK_DTYPE)
    found = sequencer.sequence(given)

    assert [0, 0] == given["seq"].tolist()
    assert [1, 2] == found["seq"].tolist()


def test_snapshot_goes_through_msgpack(sequencer: Sequencer, table: InstrumentTable) -> None:
    """A restored sequencer judges like the one that went on, even in a larger table."""
    before = ticks(
        *(
            {"ts_event": i, "trade_id": i, "flags": flag.TRADE, "stream": 3, "offset": i}
            for i in (5, 1, 9, 9)
        )
    )
    sequencer.sequence(before)
    state = msgspec.msgpack.decode(msgspec.msgpack.encode(sequencer.snapshot()), strict=False)
    grown = InstrumentTable([*table, Instrument(token=1, symbol="Z", price_scale=0)])
    restored = Sequencer(grown)
    restored.restore(state)
    after = ticks({"ts_event": 7, "trade_id": 1, "flags": flag.TRADE}, {"stream": 3, "offset": 9})
    expected = sequencer.sequence(after.copy())
    found = restored.sequence(after.copy())

    assert expected.tobytes() == found.tobytes()
    assert verdicts(expected) != [0, 0]


def test_observe_takes_in_a_journal(sequencer: Sequencer, table: InstrumentTable) -> None:
    """After a restart the journaled events bring a new sequencer to the same state."""
    before = sequencer.sequence(ticks({"stream": 0, "offset": 3, "ts_event": 9}))
    control = Control(seq=sequencer.take_seq(), ts_recv=0, verb="gap", detail={})
    other = Sequencer(table)
    other.observe(EventBatch(TickBatch.from_records(before, table), (control,)))

    assert sequencer.snapshot() == other.snapshot()
