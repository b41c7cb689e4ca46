"""What the loop spends its time on, with a clock that the test turns: stages, stalls, pauses."""

import asyncio
import gc
from pathlib import Path

import pytest

from parity.live.telemetry import COLLECTION, FILE, OUTSIDE, STALLS_KEPT, Telemetry, telemetry_of

MS = 1_000_000


class Clock:
    """A clock that stands until it is told to go on."""

    def __init__(self) -> None:
        self.ns = 1_000

    def __call__(self) -> int:
        """Return now."""
        return self.ns

    def go(self, ns: int) -> None:
        """Let time pass."""
        self.ns += ns


@pytest.fixture
def clock() -> Clock:
    """The test's own clock."""
    return Clock()


def test_a_turn_is_cut_into_its_stages(clock: Clock) -> None:
    """Each stage has what passed since the mark before it, and publish has the whole way."""
    found = Telemetry(clock)
    found.begin()
    clock.go(3)
    found.mark("journal")
    clock.go(20)
    found.mark("decide")
    clock.go(100)
    found.skip()
    clock.go(7)
    found.mark("sync")
    offered = clock()
    clock.go(50)
    found.published(found.began, offered)

    spent = {name: one.sum_ns for name, one in found.stages.items()}
    assert {"journal": 3, "decide": 20, "sync": 7, "deliver": 50, "publish": 180} == {
        name: ns for name, ns in spent.items() if ns
    }


@pytest.mark.parametrize(
    ("stage_ns", "collected_ns", "late_ns", "cause"),
    [
        (40 * MS, 0, 42 * MS, "decide"),
        (40 * MS, 30 * MS, 42 * MS, COLLECTION),
        (1 * MS, 2 * MS, 42 * MS, OUTSIDE),
        (9 * MS, 0, 9 * MS, None),
    ],
)
def test_a_late_pulse_names_what_held_the_loop_up(
    clock: Clock, stage_ns: int, collected_ns: int, late_ns: int, cause: str | None
) -> None:
    """The stage that took half of it or more; a collection within it before that; else nobody."""
    found = Telemetry(clock)
    found.begin()
    if collected_ns:
        found.collection("start", {"generation": 2})
        clock.go(collected_ns)
        found.collection("stop", {"generation": 2})
    clock.go(max(stage_ns - collected_ns, 0))
    found.mark("decide")
    found.beat(late_ns, 77, 12)
    found.beat(0, 78, 13)  # what was spent before the last pulse is over

    assert [cause] * bool(cause) == [stall.cause for stall in found.stalls]
    assert all((77, 12, late_ns) == (s.ts, s.seq, s.ns) for s in found.stalls)
    assert collected_ns == found.collections[2].sum_ns
    assert 2 == found.late.count


def test_the_longest_stalls_are_kept(clock: Clock) -> None:
    """All are counted; of many the longest are named."""
    found = Telemetry(clock)
    for n in range(2 * STALLS_KEPT):
        found.beat((20 + n) * MS, n, n)

    assert 2 * STALLS_KEPT == found.stall_count
    assert list(range(2 * STALLS_KEPT - 1, STALLS_KEPT - 1, -1)) == [s.seq for s in found.stalls]


def test_a_loop_that_is_blocked_is_seen() -> None:
    """A real loop, held up for 30 ms by a callback of nobody's: a stall, outside our stages."""
    found = Telemetry()

    async def scenario() -> None:
        pulse = asyncio.create_task(found.pulse(lambda: 5, lambda: 6))
        await asyncio.sleep(0.05)
        until = found.now() + 60 * MS
        while found.now() < until:
            pass
        await asyncio.sleep(0.05)
        pulse.cancel()

    asyncio.run(scenario())

    longest = found.stalls[0]
    assert (OUTSIDE, 5, 6) == (longest.cause, longest.ts, longest.seq)
    assert longest.ns >= 30 * MS


def test_collections_of_the_process_are_timed() -> None:
    """A collection asked for is counted in its generation, and nothing is afterwards."""
    found = Telemetry()
    with found.watching_collections():
        gc.collect(1)
        gc.collect(2)
    counted = {n: one.count for n, one in found.collections.items()}
    gc.collect(2)

    assert counted[1] >= 1
    assert counted[2] >= 1
    assert counted == {n: one.count for n, one in found.collections.items()}


def test_a_later_start_goes_on(clock: Clock, tmp_path: Path) -> None:
    """What is kept in the run is read back and added to."""
    first = Telemetry(clock)
    first.begin()
    clock.go(5)
    first.mark("journal")
    first.beat(30 * MS, 1, 2)
    first.save(tmp_path)
    again = telemetry_of(tmp_path)
    assert again is not None
    assert first.to_json() == again.to_json()
    again.merge(first.to_json())

    assert (2, 2) == (again.stages["journal"].count, again.stall_count)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 2}', '{"format": 1, "stages": {}}'])
def test_measures_that_cannot_be_read_are_none(tmp_path: Path, text: str) -> None:
    """They prove nothing, so a run without them is as good a run."""
    (tmp_path / FILE).write_text(text)

    assert telemetry_of(tmp_path) is None
    assert telemetry_of(tmp_path / "nothing") is None
