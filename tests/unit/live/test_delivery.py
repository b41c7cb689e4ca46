"""Delivery: in order, each signal once for its readers, and what became of it in the ledger."""

import asyncio
import json
import os
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import pytest
from faulty import Faulty
from hypothesis import given
from hypothesis import strategies as st
from signals import signal

from parity.live.buried import bury
from parity.live.delivery import Delivery
from parity.live.lane import label_of
from parity.live.ledger import FillLine, read_ledger
from parity.model.effects import Fill
from parity.model.errors import ConfigError, RecordingCorrupt
from parity.model.events import Control
from parity.publishers import PaperFill
from parity.publishers.envelope import encode_signal
from parity.publishers.memory import MemoryPublisher


def life(
    publisher: Faulty, ledger: Path, signals: Sequence[int], *, queue_max: int = 8
) -> list[dict[str, object]]:
    """One life of a runner's delivery; returns the failures it hands to the runner."""

    async def scenario() -> list[dict[str, object]]:
        delivery = Delivery(
            publisher,
            ledger,
            "r",
            {"paper": "paper"},
            queue_max=queue_max,
            tries_max=2,
            retry_s=0.001,
        )
        await delivery.start()
        worker = asyncio.create_task(delivery.run())
        await delivery.offer(signal(number) for number in signals)
        await delivery.settle(0.05 if publisher.silent_after < max(signals, default=0) else 60)
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)
        await delivery.close(0.1)
        return list(delivery.failures)

    return asyncio.run(scenario())


def seen(outside: MemoryPublisher) -> list[int]:
    """Return what a reader of the output sees."""
    return [signal.signal_no for _, signal in outside.signals]


def test_signals_arrive_in_order_and_in_the_ledger(tmp_path: Path) -> None:
    """More signals than the queue holds arrive in order, each with a line and a place."""
    outside = MemoryPublisher("r")
    life(Faulty(outside), tmp_path / "d/ledger.jsonl", range(1, 101), queue_max=3)

    head, lines, _ = read_ledger(tmp_path / "d/ledger.jsonl")
    assert list(range(1, 101)) == seen(outside)
    assert head is not None
    assert {"paper.signals.raw": {0: 0}} == head.starts
    assert [(n, f"id-{n}", "delivered", n - 1) for n in range(1, 101)] == [
        (x.signal_no, x.signal_id, x.state, x.offset) for x in lines
    ]


@pytest.mark.slow
@given(
    reported=st.integers(0, 9),
    written=st.integers(0, 400),
    offered_from=st.integers(1, 10),
)
def test_kill_between_sending_and_ledger_doubles_nothing(
    tmp_path_factory: pytest.TempPathFactory, reported: int, written: int, offered_from: int
) -> None:
    """Whatever of the ledger survives a kill, and wherever the replay starts: each signal once."""
    ledger = tmp_path_factory.mktemp("run") / "ledger.jsonl"
    outside = MemoryPublisher("r")
    life(Faulty(outside, silent_after=reported), ledger, range(1, 8))
    data = ledger.read_bytes()
    head_bytes = data.index(b"\n") + 1  # was durable before the first signal left
    ledger.write_bytes(data[: max(head_bytes, len(data) - written)])

    # A replay starts at a checkpoint, which comes after the ledger knows what lies before it.
    known = [line.signal_no for line in read_ledger(ledger)[1]]
    first = min(offered_from, len(known) + 1)
    life(Faulty(outside), ledger, range(first, 11))

    assert list(range(1, 11)) == seen(outside)
    _, lines, whole = read_ledger(ledger)
    assert list(range(1, 11)) == sorted(line.signal_no for line in lines)
    assert {"delivered", "recovered"} >= {line.state for line in lines}
    assert whole == len(ledger.read_bytes())


def test_refused_signal_is_dead_and_reported(tmp_path: Path) -> None:
    """A signal refused too often is dead: in the ledger, to the runner, and never offered again."""
    outside = MemoryPublisher("r")
    ledger = tmp_path / "ledger.jsonl"
    failures = life(Faulty(outside, refuse=[2]), ledger, [1, 2, 3])
    life(Faulty(outside), ledger, [1, 2, 3])

    assert [1, 3] == seen(outside)
    assert [(2, "dip", "paper.signals.raw: refused")] == [
        (f["signal_no"], f["strategy_id"], f["error"]) for f in failures
    ]
    states = {line.signal_no: line.state for line in read_ledger(ledger)[1]}
    assert {1: "delivered", 2: "dead", 3: "delivered"} == states
    (letter,) = [json.loads(line) for line in (tmp_path / "dead.jsonl").read_text().splitlines()]
    message = letter.pop("message")
    assert json.loads(encode_signal(signal(2), "r")) == message
    assert {
        "topic": "paper.signals.raw", "key": "dip:7", "tries": 2,
        "headers": {"run_id": "r", "signal_no": "2", "signal_id": "id-2"},
        "reason": "paper.signals.raw: refused",
    } == letter  # fmt: skip


def test_a_letter_stands_behind_a_torn_one_on_its_own_line(tmp_path: Path) -> None:
    """What a power loss tore stays, and the next letter can be read."""
    for number in (1, 2):
        bury(tmp_path, signal(number), "r", "paper", "no", 3)
    path = tmp_path / "dead.jsonl"
    path.write_bytes(path.read_bytes()[:-9])
    bury(tmp_path, fill_of(3), "r", "paper", "no", 3)

    first, torn, last = path.read_text().splitlines()
    assert ["1", "3"] == [
        json.loads(first)["headers"]["signal_no"], json.loads(last)["headers"]["fill_no"]
    ]  # fmt: skip
    assert "paper.orders.filled" == json.loads(last)["topic"]
    with pytest.raises(json.JSONDecodeError):
        json.loads(torn)


def test_letters_are_durable_before_the_ledger_says_dead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each letter is synced, the folder with the first, and the line comes behind."""
    (tmp_path / "d").mkdir()
    ledger = tmp_path / "d/ledger.jsonl"
    done: list[tuple[str, int]] = []
    real = os.fsync

    def sync(file: int) -> None:
        real(file)
        name = Path(os.readlink(f"/proc/self/fd/{file}")).name
        dead = ledger.read_bytes().count(b'"dead"')
        letters = tmp_path / "d/dead.jsonl"
        if name in ("d", "dead.jsonl"):
            assert len(letters.read_bytes().splitlines()) == dead + 1
            done.append((name, dead))

    monkeypatch.setattr(os, "fsync", sync)
    life(Faulty(MemoryPublisher("r"), refuse=[1, 2]), ledger, [1, 2])

    assert [("dead.jsonl", 0), ("d", 0), ("dead.jsonl", 1)] == done


def test_damaged_or_foreign_ledger_is_refused(tmp_path: Path) -> None:
    """A bad line before the last is corruption; a ledger of another run is not taken for ours."""
    ledger = tmp_path / "ledger.jsonl"
    life(Faulty(MemoryPublisher("r")), ledger, [1, 2])
    good = ledger.read_bytes()

    ledger.write_bytes(good.replace(b'"signal_no":1', b'"signal_no":x'))
    with pytest.raises(RecordingCorrupt, match="line 2"):
        life(Faulty(MemoryPublisher("r")), ledger, [])
    ledger.write_bytes(good.replace(b'"run_id":"r"', b'"run_id":"q"'))
    with pytest.raises(ConfigError, match="belongs to run q, not to r"):
        life(Faulty(MemoryPublisher("r")), ledger, [])


def test_a_strategy_whose_signals_nobody_takes_is_paused_once(tmp_path: Path) -> None:
    """Each dead signal is an event, and behind them one pause of its strategy, with the reason."""

    async def scenario() -> tuple[list[tuple[str, dict[str, object]]], list[object]]:
        outside = Faulty(MemoryPublisher("r"), refuse=[2, 3])
        limits = {"tries_max": 2, "retry_s": 0.001}
        delivery = Delivery(outside, tmp_path / "l.jsonl", "r", {"paper": "paper"}, **limits)
        await delivery.start()
        worker = asyncio.create_task(delivery.run())
        await delivery.offer(signal(number) for number in range(1, 5))
        await delivery.settle(1)
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)
        first = [(note.verb, note.detail) for note in delivery.notes()]
        again: list[object] = list(delivery.notes())
        await delivery.close(0.1)
        return first, again

    first, again = asyncio.run(scenario())
    assert ["publisher_failed", "publisher_failed", "strategy_paused"] == [v for v, _ in first]
    assert [2, 3] == [detail["signal_no"] for _, detail in first[:2]]
    assert {"strategy_id": "dip", "broker": "paper", "reason": "publisher_failed"} == first[2][1]
    assert [] == again


@pytest.mark.parametrize("journaled", [False, True])
def test_a_kill_before_the_event_of_a_dead_signal_loses_no_pause(
    tmp_path: Path, journaled: bool
) -> None:
    """A restart that meets the signal again tells it once more, where no event says it yet."""
    ledger = tmp_path / "ledger.jsonl"
    life(Faulty(MemoryPublisher("r"), refuse=[2]), ledger, [1, 2])
    event = Control(seq=9, ts_recv=0, verb="publisher_failed", detail={"signal_no": 2})

    async def scenario() -> list[str]:
        delivery = Delivery(Faulty(MemoryPublisher("r")), ledger, "r", {"paper": "paper"})
        await delivery.start()
        delivery.recall([event] if journaled else [])
        await delivery.offer(signal(number) for number in (1, 2))
        verbs = [note.verb for note in delivery.notes()]
        await delivery.close(0.1)
        return verbs

    told = [] if journaled else ["publisher_failed", "strategy_paused"]
    assert told == asyncio.run(scenario())


def test_how_long_reports_stay_away_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the first signal on its way or the last report, and nothing where none is on its way."""
    now_s = 1000.0
    monkeypatch.setattr("parity.live.delivery._now_s", lambda: now_s)

    async def scenario() -> list[float]:
        nonlocal now_s
        publisher = Faulty(MemoryPublisher("r"), silent_after=2)
        delivery = Delivery(publisher, tmp_path / "ledger.jsonl", "r", {"paper": "paper"})
        await delivery.start()
        waits = [delivery.waits_s]
        await delivery.offer([signal(1)])
        now_s += 40
        await delivery.offer([signal(2), signal(3)])  # the first waits longest
        waits.append(delivery.waits_s)
        worker = asyncio.create_task(delivery.run())
        for _ in range(100):  # turns of the loop, of which each signal takes a few
            await asyncio.sleep(0)
        assert 1 == delivery.unsettled
        waits.append(delivery.waits_s)  # reports came, and one is missing
        now_s += 70
        waits.append(delivery.waits_s)
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)
        now_s += 5
        waits.append(delivery.waits_s)
        await delivery.close(0.1)
        return waits

    assert [0.0, 40.0, 0.0, 70.0, 0.0] == asyncio.run(scenario())


def fill(seq: int, *, reason: str = "", kind: str = "order") -> Fill:
    """Return what became of an order."""
    one = Decimal(1)
    return Fill(seq, "dip", "zerodha", 7, seq, 0, 1, one, one, one, "id", reason, b"", kind)


def fill_of(number: int) -> PaperFill:
    """Return a fill with its number."""
    return PaperFill(number, f"r.fill.{number}", fill(number))


def test_only_what_was_filled_on_paper_is_published() -> None:
    """Fills are numbered in order; an order without one, and a fill from outside, have none."""
    effects = [fill(1), signal(1), fill(2, reason="expired"), fill(3, kind="outside"),
               fill(4, kind="stop_loss")]  # fmt: skip
    publisher, path = Faulty(MemoryPublisher("r")), Path("never-opened")
    delivery = Delivery(publisher, path, "r", {"paper": "paper"}, fills=path)
    found = delivery.outgoing(effects) + delivery.outgoing([fill(5)])

    assert ["r.fill.1", "id-1", "r.fill.2", "r.fill.3"] == [label_of(o).identity for o in found]
    assert 3 == delivery.fill_count
    without = Delivery(publisher, path, "r", {"paper": "paper"})
    assert [effects[1]] == without.outgoing(effects)


@pytest.mark.parametrize("reported", range(6))
def test_a_kill_doubles_no_fill_and_loses_none(tmp_path: Path, reported: int) -> None:
    """Beside signals, with reports that never came, from a checkpoint's count: each fill once."""
    outside, effects = MemoryPublisher("r"), [[fill(n), signal(n)] for n in range(1, 8)]

    async def lives(publisher: Faulty, first: int) -> list[dict[str, object]]:
        ledgers = tmp_path / "ledger.jsonl", tmp_path / "fills.jsonl"
        delivery = Delivery(
            publisher, ledgers[0], "r", {"paper": "paper"}, fills=ledgers[1], tries_max=1
        )
        await delivery.start()
        delivery.fill_count = first
        worker = asyncio.create_task(delivery.run())
        for said in effects[first:]:
            await delivery.offer(delivery.outgoing(said))
        await delivery.settle(0.05)
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)
        await delivery.close(0.1)
        return list(delivery.failures)

    asyncio.run(lives(Faulty(outside, silent_after=reported), 0))
    asyncio.run(lives(Faulty(outside), min(reported, 3)))

    assert list(range(1, 8)) == [fill.fill_no for _, fill in outside.fills] == seen(outside)
    _, lines, _ = read_ledger(tmp_path / "fills.jsonl", FillLine)
    assert list(range(1, 8)) == sorted(line.fill_no for line in lines)
    assert {"paper.orders.filled"} == {line.topic for line in lines}


def test_a_fill_that_nobody_takes_pauses_its_strategy_too(tmp_path: Path) -> None:
    """It is an event with its own number, told again after a kill, until the journal has it."""
    path, fills = tmp_path / "l.jsonl", tmp_path / "f.jsonl"

    async def life_of(refuse: Sequence[int], events: Sequence[Control]) -> list[tuple[str, object]]:
        publisher = Faulty(MemoryPublisher("r"), refuse=refuse)
        delivery = Delivery(publisher, path, "r", {"paper": "paper"}, fills=fills, tries_max=1)
        await delivery.start()
        delivery.recall(events)
        worker = asyncio.create_task(delivery.run())
        await delivery.offer(delivery.outgoing([fill(1)]))
        await delivery.settle(5)
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)
        found = [(note.verb, note.detail.get("fill_no")) for note in delivery.notes()]
        await delivery.close(0.1)
        return found

    told = [("publisher_failed", 1), ("strategy_paused", None)]
    event = Control(seq=9, ts_recv=0, verb="publisher_failed", detail={"fill_no": 1})
    assert told == asyncio.run(life_of([1], []))
    assert told == asyncio.run(life_of([], []))
    assert [] == asyncio.run(life_of([], [event]))
