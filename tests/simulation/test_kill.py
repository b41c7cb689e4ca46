"""kill -9 of the live commands at random: nothing lost, doubled, reordered or sent twice."""

import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from parity.testing.broker import Broker

pytestmark = pytest.mark.slow
KILLS = 3  # of each, in the normal run
CHUNK = 600  # ticks a kill, at most; the mock keeps 5 MiB of a partition
Make = Callable[..., Any]


def kill_at_random(bench: Any, command: str, kills: int, rng: random.Random) -> Counter[str]:
    """Start and kill a command again and again; returns the kills by what it was doing."""
    found: Counter[str] = Counter()
    for _ in range(kills):
        process = bench.start(command)
        moment = rng.choices(["any", "recording", "sealing"], [3, 5, 2])[0]
        if moment == "any":  # imports, connecting, recovery, at work
            time.sleep(rng.uniform(0.2, 4.0))
        else:
            bench.produce(rng.randint(CHUNK // 4, CHUNK))
            bench.await_ticks(process, rng.randint(1, CHUNK // 5))
            time.sleep(rng.uniform(0, 0.01))
        if moment == "sealing":
            process.send_signal(signal.SIGTERM)
            time.sleep(rng.uniform(0, 0.5))
        process.kill()
        code = process.wait(180)
        stopped = (0, 130) if moment == "sealing" else ()  # 130: before it had caught up
        assert code in (-signal.SIGKILL, *stopped), bench.log.read_text()
        found[moment if code < 0 else "ended"] += 1
    bench.produce(CHUNK)
    return found


def test_killed_paper_runs_lose_and_double_nothing(
    make_bench: Make, any_broker: Broker, seed: int, soak: int
) -> None:
    """A paper run killed N times holds the producer's log, sent each signal once, and verifies."""
    kills = soak // 5 or KILLS
    bench = make_bench(any_broker, (kills + 1) * CHUNK, seed)
    moments = kill_at_random(bench, "paper", kills, random.Random(seed))
    bench.finish("paper")

    controls = bench.check_recording(bench.folder / "recording")
    signals = bench.check_signals()
    verdict = bench.verify()
    assert signals == verdict["covered"]["deliveries"] > 0
    assert verdict["covered"]["fill_deliveries"] > 0
    assert controls["resumed"] <= kills
    assert {"resumed"} >= set(controls)
    print(f"{any_broker.kind}: {kills} kills {dict(moments)}, {bench.sent[0]} ticks, "
          f"{signals} signals, 0 lost, 0 doubled, identical")  # fmt: skip


def test_killed_recorders_lose_and_double_nothing(
    make_bench: Make, any_broker: Broker, seed: int, soak: int
) -> None:
    """A recorder killed N times holds the producer's log, tick by tick, in order."""
    kills = (soak if any_broker.kind == "kafka" else soak // 5) or KILLS
    bench = make_bench(any_broker, (kills + 1) * CHUNK, seed)
    moments = kill_at_random(bench, "record", kills, random.Random(seed + 1))
    bench.finish("record")

    controls = bench.check_recording()
    assert {"resumed"} >= set(controls)
    print(f"{any_broker.kind}: {kills} kills {dict(moments)}, {bench.sent[0]} ticks, "
          "0 lost, 0 doubled")  # fmt: skip
