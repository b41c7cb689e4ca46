"""Dead letters beside a loop: told once, taken up anew, and never in the way of a recording."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from parity.live import dead_letters
from parity.live.dead_letters import DeadLetters, _open_letters
from parity.model.events import Control
from parity.model.instruments import Instrument, InstrumentTable
from parity.publishers import NotPublished, Receipt
from parity.publishers.redpanda.letters import Letter
from parity.recording.writer import create_recording


class Box:
    """A topic of letters in memory, which refuses as often as it is told to."""

    def __init__(self, refusals: int = 0) -> None:
        self.refusals = refusals
        self.lies: list[Letter] = []

    def put(
        self, letters: Sequence[Letter], stopped: Callable[[], bool]
    ) -> list[tuple[Receipt, bool]]:
        """Take what is not there yet."""
        if self.refusals:
            self.refusals -= 1
            raise NotPublished("not now")
        found = []
        for letter in letters:
            there = letter in self.lies
            if not there:
                self.lies.append(letter)
            found.append((Receipt("t.dlq", 0, self.lies.index(letter)), there))
        return found


def quarantine(offset: int, payload: bytes = b"poison") -> Control:
    """Return the event of one message of stream 2."""
    detail = {"stream": 2, "offset": offset, "reason": "no tick", "payload": payload}
    return Control(seq=offset + 1, ts_recv=1, verb="quarantine", detail=detail)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A recording whose stream 2 is partition 5 of a topic."""
    table = InstrumentTable([Instrument(token=7, symbol="A", price_scale=2)])
    streams = [("s", 0), ("s", 1), ("t", 5)]
    create_recording(tmp_path / "rec", table, created_by="test", streams=streams)
    return tmp_path / "rec"


def run(
    folder: Path, box: Box, controls: Sequence[Control], settle_s: float = 5
) -> tuple[DeadLetters, Any]:
    """Send the letters of some events, and return the notes for the journal."""
    letters = DeadLetters(lambda recording_id: box)
    letters.begin(folder, None)
    letters.offer(controls)
    asyncio.run(letters.settle(settle_s))
    letters.close()
    return letters, letters.notes()


def test_letters_are_told_in_their_order(folder: Path) -> None:
    """Each quarantined message is one letter; other events are none; a note says where all lie."""
    box = Box()
    other = Control(seq=9, ts_recv=1, verb="gap", detail={"stream": 2})
    letters, notes = run(folder, box, [quarantine(3), other, quarantine(7, b"")])

    assert [("t", 5, 3, "no tick", b"poison"), ("t", 5, 7, "no tick", None)] == box.lies
    assert (2, 0) == (letters.delivered, letters.open)
    rows = [row for note in notes for row in note.detail["letters"]]
    assert [[2, 3, 0, 0], [2, 7, 0, 1]] == rows
    assert {"dead_lettered"} == {note.verb for note in notes}


def test_a_refusal_is_waited_for_and_said(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A topic that takes no letters costs none: they are sent when it does."""
    monkeypatch.setattr(dead_letters, "_RETRY_S_MAX", 0.01)
    box = Box(refusals=3)
    letters, notes = run(folder, box, [quarantine(3)])

    assert (1, 0, 1) == (letters.delivered, letters.open, len(notes))
    assert 1 == len(box.lies)


def test_a_stop_leaves_what_is_open_to_the_next_start(folder: Path) -> None:
    """Nothing is told that is not known; the events say what is open, a note what is not."""
    letters, notes = run(folder, Box(refusals=99), [quarantine(3), quarantine(4)], settle_s=0.05)
    told = Control(
        seq=9, ts_recv=1, verb="dead_lettered", detail={"letters": [[2, 3, 0, 0]], "found": 0}
    )

    assert (0, 2, []) == (letters.delivered, letters.open, notes)
    assert [4] == [c.detail["offset"] for c in _open_letters([quarantine(3), quarantine(4), told])]


def test_what_waits_is_bounded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Letters beyond the bound are counted and left: their bytes are in the recording."""
    monkeypatch.setattr(dead_letters, "HELD_BYTES_MAX", 1200)
    letters, _ = run(folder, Box(refusals=99), [quarantine(n) for n in range(5)], settle_s=0.05)

    assert (5, 3) == (letters.open, letters.left)


def test_nobody_waits_for_a_thread_that_ended(folder: Path) -> None:
    """Where the thread stopped for good no letter leaves any more, and the end does not wait."""

    class Broken(Box):
        def put(
            self, letters: Sequence[Letter], stopped: Callable[[], bool]
        ) -> list[tuple[Receipt, bool]]:
            raise RuntimeError("a defect")

    looks: list[float] = []
    letters = DeadLetters(lambda recording_id: Broken())
    letters.begin(folder, None)
    letters.offer([quarantine(3)])
    assert letters._thread is not None
    letters._thread.join(10)

    async def look(seconds: float) -> None:
        looks.append(seconds)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dead_letters.asyncio, "sleep", look)
        asyncio.run(letters.settle(60))

    assert (0, 1) == (len(looks), letters.open)
