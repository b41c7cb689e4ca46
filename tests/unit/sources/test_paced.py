"""A recording as a live source: the same ticks, from where a run stopped, at a pace."""

import asyncio
import itertools
import time
from collections.abc import Iterator

import numpy as np
import pytest

from parity.model.errors import ConfigError
from parity.model.events import Control, EventBatch
from parity.model.ticks import DUPLICATE, NO_TS_RECV, SEQUENCER_BITS, SKEWED, TickBatch
from parity.sources import synthetic
from parity.sources.arrivals import Arrivals
from parity.sources.paced import PacedSource

TABLE, TICKS = synthetic.generate(ticks=2500)


class Recorded:
    """A recording of some ticks, in memory, with a gap before tick `gap_at`, or behind the last."""

    table = TABLE

    def __init__(self, records: np.ndarray, gap_at: int | None = None) -> None:
        self.records = records.copy()
        self.records["seq"] = np.arange(len(records)) * 2 + 2
        self.gap_at = gap_at

    def batches(self) -> Iterator[EventBatch]:
        """Yield the ticks in uneven batches."""
        edges = [0, 1, 1200, len(self.records)]
        for lo, hi in itertools.pairwise(edges):
            controls: tuple[Control, ...] = ()
            if self.gap_at is not None and lo <= self.gap_at < hi:
                seq = int(self.records["seq"][self.gap_at]) - 1
                detail = {"stream": 5, "offset": 1, "next_offset": 2, "reason": "skipped"}
                controls = (
                    Control(seq=seq, ts_recv=0, verb="gap", detail=detail),
                    Control(seq=seq, ts_recv=0, verb="resumed", detail={}),
                )
            yield EventBatch(TickBatch.from_records(self.records[lo:hi], TABLE), controls)
        if self.gap_at == len(self.records):  # as a recording has it: by itself
            control = Control(seq=2 * self.gap_at + 2, ts_recv=0, verb="gap", detail={"stream": 5})
            yield EventBatch(TickBatch.empty(TABLE), (control,))


def drain(source: PacedSource) -> list[Arrivals]:
    """Take until the end."""

    async def scenario() -> list[Arrivals]:
        await source.start()
        found = []
        while (arrived := await source.take(0.05)) is not None:
            found.append(arrived)
        return found

    return asyncio.run(scenario())


def together(found: list[Arrivals]) -> np.ndarray:
    """Return all ticks taken."""
    return np.concatenate([arrived.records for arrived in found])


def test_ticks_come_again_without_verdicts() -> None:
    """Every delivered tick comes in order; what was not delivered stays away, flags are bare."""
    records = TICKS.copy()
    records["flags"][7] |= DUPLICATE
    records["flags"][1300] |= SKEWED
    ticks = together(drain(PacedSource(Recorded(records), "rec")))

    kept = np.delete(TICKS, [7, 1300])
    assert kept["price_int"].tolist() == ticks["price_int"].tolist()
    assert np.delete(np.arange(2500), [7, 1300]).tolist() == ticks["offset"].tolist()
    assert not (ticks["flags"] & np.uint32(SEQUENCER_BITS | NO_TS_RECV)).any()


@pytest.mark.parametrize("row", [0, 1, 1199, 1200, 2499, 2500])
def test_goes_on_behind_what_was_recorded(row: int) -> None:
    """Given the next row, the source hands over exactly the rest."""
    source = PacedSource(Recorded(TICKS), "rec")
    source.start_at({("rec", 0): row})
    found = drain(source)

    rest = [offset for arrived in found for offset in arrived.records["offset"].tolist()]
    assert list(range(row, 2500)) == rest
    if found:
        assert {0: 2500} == found[-1].positions


@pytest.mark.parametrize("row", [0, 1, 999, 1000, 1199, 1200, 2200, 2499, 2500])
def test_gap_stands_where_it_stood(row: int) -> None:
    """A gap of the recording comes before the same tick; other controls do not come at all."""
    found = drain(PacedSource(Recorded(TICKS, gap_at=row), "rec"))

    before, places = 0, []
    for arrived in found:
        places += [(note.verb, before + note.row) for note in arrived.notes]
        before += len(arrived.records)
    assert [("gap", row)] == places


@pytest.mark.parametrize("row", [0, 1, 999, 1199, 1200, 2499, 2500])
@pytest.mark.parametrize("left_out", [(), (1000,), (1199, 1200), (2499,), tuple(range(1200, 2500))])
def test_a_gap_comes_once_wherever_a_run_ends(row: int, left_out: tuple[int, ...]) -> None:
    """What was taken is behind its position with its gaps, also those behind the last tick."""
    records = TICKS.copy()
    records["flags"][list(left_out)] |= DUPLICATE
    recording = Recorded(records, gap_at=row)
    whole = drain(PacedSource(recording, "rec"))
    for taken in range(len(whole) + 1):
        position = ([0] + [arrived.positions[0] for arrived in whole])[taken]
        source = PacedSource(recording, "rec")
        source.start_at({("rec", 0): position})
        found = [*whole[:taken], *drain(source)]

        assert together(whole)["offset"].tolist() == together(found)["offset"].tolist()
        assert 1 == sum(len(arrived.notes) for arrived in found)


def test_pace_is_kept() -> None:
    """At a pace, ticks do not come before they are due."""
    started = time.monotonic()
    found = drain(PacedSource(Recorded(TICKS[:1250]), "rec", pace=10_000))

    assert time.monotonic() - started >= 0.1
    assert 1250 == len(together(found))


def test_pace_has_to_be_positive() -> None:
    """A pace of nothing is refused by name."""
    with pytest.raises(ConfigError, match="pace: expected ticks a second above 0, was 0"):
        PacedSource(Recorded(TICKS), "rec", pace=0)
