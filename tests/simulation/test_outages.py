"""Brokers that stand still, topics that change under a run, and runs that stood still."""

import random
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

from parity.live.runner import SETTLE_LIMIT_S
from parity.recording.reader import open_recording
from parity.sources.redpanda.inquiry import WATCH_S
from parity.testing.broker import Broker

pytestmark = pytest.mark.slow
Make = Callable[..., Any]
CYCLES = 1  # of each kind of outage; a soak makes more
CHUNK = 400


def offsets_and_gaps(bench: Any) -> tuple[list[int], list[tuple[int, int, str]]]:
    """Return the offsets of the recorded ticks, and the gaps between them."""
    with open_recording(bench.folder / "recording") as recording:
        kept = [int(o) for b in recording.batches() for o in b.ticks.column("offset")]
    gaps = [c.detail for c in bench.controls() if c.verb == "gap"]
    return kept, [(g["offset"], g["next_offset"], g["reason"]) for g in gaps]


def delete_topic(bench: Any) -> None:
    """Take the topic away under its run."""
    from confluent_kafka.admin import AdminClient

    admin = AdminClient({"bootstrap.servers": bench.broker.bootstrap_servers})
    for future in admin.delete_topics([bench.topic]).values():
        future.result(30)


def test_outages_of_any_kind_cost_nothing(
    make_bench: Make, any_broker: Broker, seed: int, soak: int
) -> None:
    """Killed and back, frozen and thawed, at random: every tick once, every signal once."""
    cycles = soak // 50 or CYCLES
    rng = random.Random(seed)
    bench = make_bench(any_broker, (2 * cycles + 2) * CHUNK, seed)
    process = bench.start("paper")
    bench.produce(CHUNK)
    bench.await_ticks(process, CHUNK // 2)
    kinds = ["frozen", "killed"] * cycles
    rng.shuffle(kinds)
    for kind in kinds:
        if kind == "frozen":
            any_broker.freeze()
            time.sleep(rng.uniform(1, 4))
            any_broker.thaw()
        else:
            any_broker.set_down()
            time.sleep(rng.uniform(0.2, 2))
            any_broker.set_up()
        bench.produce(CHUNK)
        bench.await_ticks(process, CHUNK // 2)
    code, _ = bench.stop(process, signal.SIGTERM)
    bench.produce(CHUNK)
    bench.finish("paper")

    assert 0 == code
    assert {"resumed": 1} == bench.check_recording(bench.folder / "recording")
    signals = bench.check_signals()
    assert signals == bench.verify()["covered"]["deliveries"] > 0
    print(f"{any_broker.kind}: {len(kinds)} outages, {bench.sent[0]} ticks, {signals} signals, "
          "0 lost, 0 doubled, identical")  # fmt: skip


def test_stop_beside_a_frozen_broker_is_bounded(make_bench: Make, any_broker: Broker) -> None:
    """SIGTERM ends the run although nobody answers; the next start completes the ledger."""
    bench = make_bench(any_broker, 3 * CHUNK)
    process = bench.start("paper")
    bench.produce(2 * CHUNK)
    bench.await_ticks(process, CHUNK)
    any_broker.freeze()
    try:
        code, seconds = bench.stop(process, signal.SIGTERM)
    finally:
        any_broker.thaw()
    bench.produce(CHUNK)
    bench.finish("paper")

    assert code in (0, 4)  # 4: signals were on their way
    assert not bench.said(f'"waited_s": {SETTLE_LIMIT_S}')  # which nobody who stops waits for
    bench.check_recording(bench.folder / "recording")
    assert bench.check_signals() == bench.verify()["covered"]["deliveries"] > 0
    print(f"{any_broker.kind}: code {code} after {seconds:.1f} s")


@pytest.mark.kafka
def test_retention_that_passes_a_frozen_run_is_a_gap(
    make_bench: Make, kafka_broker: Broker
) -> None:
    """A run that stood still wakes up behind the retention: what it missed is one named gap."""
    from confluent_kafka import TopicPartition
    from confluent_kafka.admin import AdminClient

    bench = make_bench(kafka_broker, 4 * CHUNK)
    process = bench.start("paper")
    bench.produce(CHUNK)
    bench.await_ticks(process, CHUNK - 10)
    process.send_signal(signal.SIGSTOP)
    # The fetch that waits at the broker may be answered with all of the first; a frozen client asks
    # for nothing more, so the second is there for nobody.
    bench.produce(CHUNK)
    bench.produce(CHUNK)
    admin = AdminClient({"bootstrap.servers": kafka_broker.bootstrap_servers})
    for future in admin.delete_records([TopicPartition(bench.topic, 0, 3 * CHUNK)]).values():
        future.result(30)
    before = bench.kept_ticks()
    process.send_signal(signal.SIGCONT)
    bench.produce(CHUNK)
    bench.await_kept(process, before + CHUNK)
    code, _ = bench.stop(process, signal.SIGTERM)
    bench.finish("paper")

    assert 0 == code, bench.log.read_text()
    kept, gaps = offsets_and_gaps(bench)
    missed = [offset for lo, hi, _ in gaps for offset in range(lo, hi)]
    assert list(range(4 * CHUNK)) == sorted([*kept, *missed])
    assert ["retention"] == [reason for _, _, reason in gaps]  # what was under way, it still had
    assert len(kept) == bench.verify()["covered"]["ticks"]


@pytest.mark.kafka
def test_topic_made_anew_ends_the_run_by_name(make_bench: Make, kafka_broker: Broker) -> None:
    """A topic deleted and created under a run is no gap: the run ends, and says why."""
    bench = make_bench(kafka_broker, 2 * CHUNK)
    process = bench.start("paper")
    bench.produce(CHUNK)
    bench.await_ticks(process, CHUNK - 10)
    delete_topic(bench)
    time.sleep(1)
    kafka_broker.create_topic(bench.topic, 1)
    bench.produce(CHUNK // 2)
    code = process.wait(120)

    assert 4 == code, bench.log.read_text()
    assert bench.topic in bench.log.read_text()
    said = bench.finish("paper", code=2)
    assert "it was created anew" in said
    kept, gaps = offsets_and_gaps(bench)
    assert (list(range(CHUNK)), []) == (kept, gaps)


@pytest.mark.kafka
def test_topic_made_anew_with_more_is_told_by_its_id(
    make_bench: Make, kafka_broker: Broker
) -> None:
    """The new topic has messages at the recorded offsets, too: none is taken for what follows."""
    bench = make_bench(kafka_broker, 4 * CHUNK)
    process = bench.start("paper")
    bench.produce(CHUNK)
    bench.await_ticks(process, CHUNK)
    process.send_signal(signal.SIGSTOP)
    delete_topic(bench)
    time.sleep(3 * WATCH_S)  # that nobody looked for so long is what is tried here
    kafka_broker.create_topic(bench.topic, 1)
    bench.produce(3 * CHUNK)
    process.send_signal(signal.SIGCONT)
    code = process.wait(120)

    assert 4 == code, bench.log.read_text()
    assert f"topic {bench.topic}: it was created anew: its id is" in bench.log.read_text()
    (said,) = [c.detail for c in bench.controls() if c.verb == "topic_made_anew"]
    assert (bench.topic, 0) == (said["topic"], said["stream"])
    assert said["topic_id"] != said["was"]
    refused = bench.finish("paper", code=2)
    assert "was created anew since" in refused
    assert said["topic_id"] in refused
    assert (list(range(CHUNK)), []) == offsets_and_gaps(bench)
