"""A publisher that is slow or gone holds the loop back only where its queue is full."""

import asyncio
from pathlib import Path

import pytest
from faulty import Faulty, Late
from leaping import LeapingLoop
from signals import signal

from parity.live.delivery import (
    MOMENT_MAX_S,
    MOMENT_S,
    QUEUE_MAX,
    UNDER_WAY_MAX,
    WAITS_EACH,
    Delivery,
)
from parity.publishers.memory import MemoryPublisher


def test_full_queue_makes_the_loop_wait_until_abandoned(tmp_path: Path) -> None:
    """A hanging publisher holds the loop back, drops nothing, and lets go when told to."""

    async def scenario() -> tuple[bool, bool]:
        publisher = Faulty(MemoryPublisher("r"), silent_after=0)
        delivery = Delivery(
            publisher, tmp_path / "ledger.jsonl", "r", {"paper": "paper"}, queue_max=1
        )
        await delivery.start()
        offering = asyncio.create_task(delivery.offer(map(signal, range(1, 5))))
        await asyncio.sleep(0.01)  # no worker: the queue stays full
        waited = not offering.done()
        delivery.abandon()
        await asyncio.wait_for(offering, 1)
        settled = await delivery.settle(1)
        await delivery.close(0.1)
        return waited, settled

    assert (True, False) == asyncio.run(scenario())


def test_a_silent_publisher_is_waited_for_a_moment_only(tmp_path: Path) -> None:
    """Who needs all signals settled waits once, is then refused at once, and served once it is."""

    async def scenario() -> tuple[bool, bool, bool]:
        delivery = Delivery(
            Faulty(MemoryPublisher("r"), silent_after=0), tmp_path / "l", "r", {"paper": "paper"}
        )
        await delivery.start()
        worker = asyncio.create_task(delivery.run())
        before = await delivery.quiet()
        await delivery.offer([signal(1)])
        waited = await delivery.quiet()
        again = delivery.quiet()
        with pytest.raises(StopIteration) as refused:  # it ends without giving the loop a turn
            again.send(None)
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)
        await delivery.close(0.1)
        return before, waited, refused.value.value

    assert (True, False, False) == asyncio.run(scenario())


@pytest.mark.parametrize(
    ("report_s", "signals", "granted_min"), [(0.0, 200, 200), (0.3, 7200, 20), (3.0, 7200, 1)]
)
def test_a_slow_publisher_under_steady_signals_starves_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, report_s: float, signals: int, granted_min: int
) -> None:
    """A signal each half second, and each report late: the quiet comes, and costs little."""

    async def scenario() -> tuple[int, float, float]:
        now_s = asyncio.get_running_loop().time
        monkeypatch.setattr("parity.live.delivery._now_s", now_s)
        delivery = Delivery(Late("r", report_s), tmp_path / "l", "r", {"paper": "paper"})
        await delivery.start()
        worker = asyncio.create_task(delivery.run())
        number, granted, longest_s, all_s = 0, 0, 0.0, 0.0
        while number < signals:
            number += 1
            await delivery.offer([signal(number)])
            asked_s = now_s()
            granted += await delivery.quiet()
            longest_s = max(longest_s, now_s() - asked_s)
            all_s += now_s() - asked_s
            await asyncio.sleep(0.5)
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)
        await delivery.close(0.1)
        return granted, longest_s, all_s

    with asyncio.Runner(loop_factory=LeapingLoop) as runner:
        granted, longest_s, all_s = runner.run(scenario())
    assert granted >= granted_min
    assert longest_s <= MOMENT_MAX_S
    assert all_s <= signals / 2 / WAITS_EACH + MOMENT_MAX_S  # the last one is paid for behind it


def test_a_publisher_that_is_gone_costs_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reports that never come are waited for in moments that grow, rarer as they do."""

    async def scenario() -> float:
        now_s = asyncio.get_running_loop().time
        monkeypatch.setattr("parity.live.delivery._now_s", now_s)
        publisher = Faulty(MemoryPublisher("r"), silent_after=0)
        delivery = Delivery(publisher, tmp_path / "l", "r", {"paper": "paper"})
        await delivery.start()
        worker = asyncio.create_task(delivery.run())
        await delivery.offer([signal(1)])
        all_s = 0.0
        for _ in range(7200):
            asked_s = now_s()
            assert not await delivery.quiet()
            all_s += now_s() - asked_s
            await asyncio.sleep(0.5)
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)
        await delivery.close(0.1)
        return all_s

    with asyncio.Runner(loop_factory=LeapingLoop) as runner:
        all_s = runner.run(scenario())
    assert MOMENT_S < all_s <= 3600 / WAITS_EACH + MOMENT_MAX_S


def test_no_offer_waits_while_the_queue_has_room(tmp_path: Path) -> None:
    """Whatever the publisher does, they are taken without a turn of the loop, and then no more."""
    # The sender has taken as many as can be under way, and holds the next one in its hand.
    most = QUEUE_MAX + UNDER_WAY_MAX + 1

    async def scenario() -> int:
        publisher = Faulty(MemoryPublisher("r"), silent_after=0)
        delivery = Delivery(publisher, tmp_path / "l", "r", {"paper": "paper"})
        await delivery.start()
        worker = asyncio.create_task(delivery.run())
        taken = 0
        while taken <= most:
            offer = delivery.offer([signal(taken + 1)])
            try:
                offer.send(None)
            except StopIteration:  # it ended without giving the loop a turn
                taken += 1
            else:
                offer.close()
                break
            if taken % 100 == 0:  # as the loop has turns of its own: while it waits for ticks
                await asyncio.sleep(0)
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)
        await delivery.close(0.1)
        return taken

    assert most - 1 <= asyncio.run(scenario()) <= most
