"""An operator's night: brokers that go away, odd messages, stops, and what is said of them."""

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from waiting import until

from parity.live.dead_letters import QUARANTINE
from parity.live.runner import FLUSH_LIMIT_S, SETTLE_LIMIT_S
from parity.recording.reader import open_recording
from parity.testing.broker import Broker

pytestmark = pytest.mark.slow
Make = Callable[..., Any]
PRODUCE, TIMED_OUT = 0, 7  # a request and an error of Kafka's protocol
FAILING = """\
class Failing:
    def __init__(self):
        self.count = 0

    def process_tick(self, tick, history):
        self.count += 1
        if self.count % 100 == 0:
            raise ValueError(f"tick {self.count}")
        return None

    def get_required_history_length(self):
        return 1

    def supports_instrument(self, token):
        return True

    def get_strategy_name(self):
        return "failing"


def create(config):
    return Failing()
"""


def test_run_waits_for_its_broker(make_bench: Make, any_broker: Broker) -> None:
    """A broker that goes away is waited for and named once; nothing is lost or sent twice."""
    bench = make_bench(any_broker, 2000)
    process = bench.start("paper")
    bench.produce(500)
    bench.await_ticks(process, 400)
    any_broker.set_down()
    until(lambda: bench.said("broker_lost"))
    any_broker.set_up()
    bench.produce(500)
    bench.await_ticks(process, 300)
    code, _ = bench.stop(process, signal.SIGTERM)
    bench.produce(500)
    bench.finish("paper")

    assert 0 == code
    assert 0 == bench.said("signals_not_settled")
    assert {"resumed": 1} == bench.check_recording(bench.folder / "recording")
    assert bench.check_signals() == bench.verify()["covered"]["deliveries"] > 0
    assert 1 == bench.said("broker_lost") == bench.said("broker_back")
    assert bench.said('"event"') < 20


def test_unconfirmed_signals_are_sent_by_the_next_start(make_bench: Make, own_mock: Broker) -> None:
    """A stop waits the flush limit for signals without a report, ends with 4; a restart ends it."""
    bench = make_bench(own_mock, 600)
    bench.produce(600)
    own_mock.push_errors(PRODUCE, TIMED_OUT, 12)
    process = bench.start("paper")
    bench.await_ticks(process, 500)
    code, seconds = bench.stop(process, signal.SIGTERM)

    assert 4 == code
    assert FLUSH_LIMIT_S <= seconds < SETTLE_LIMIT_S
    assert 1 == bench.said(f'"waited_s": {FLUSH_LIMIT_S}')
    assert bench.said("the fate of the last signals is not known") == 1
    assert bench.said("start the run again") == 1
    bench.finish("paper")
    bench.check_recording(bench.folder / "recording")
    assert bench.check_signals() == bench.verify()["covered"]["deliveries"] > 0


def test_second_signal_ends_at_once(make_bench: Make, own_mock: Broker) -> None:
    """A second SIGINT does not wait for signals under way: exit 130, and nothing is lost."""
    bench = make_bench(own_mock, 600)
    bench.produce(600)
    own_mock.push_errors(PRODUCE, TIMED_OUT, 12)
    process = bench.start("paper")
    bench.await_ticks(process, 500)
    process.send_signal(signal.SIGINT)
    until(lambda: bench.said("stopping"))
    code, seconds = bench.stop(process, signal.SIGINT)

    assert 130 == code
    assert seconds < FLUSH_LIMIT_S
    assert 0 == bench.said("signals_not_settled")
    bench.finish("paper")
    bench.check_recording(bench.folder / "recording")
    assert bench.check_signals() == bench.verify()["covered"]["deliveries"] > 0


def test_broker_that_is_away_at_a_restart(make_bench: Make, mock: Broker) -> None:
    """A run that cannot reach its broker ends with 4, named, in bounded time, and loses nothing."""
    bench = make_bench(mock, 800)
    bench.produce(400)
    bench.finish("paper")
    mock.set_down()
    began = time.monotonic()
    said = bench.finish("paper", code=4)
    seconds = time.monotonic() - began
    mock.set_up()
    bench.produce(400)
    bench.finish("paper")

    assert mock.bootstrap_servers in said
    assert seconds < 25
    bench.check_recording(bench.folder / "recording")
    bench.check_signals()
    bench.verify()


def test_odd_messages_are_quarantined_with_their_reason(
    make_bench: Make, any_broker: Broker
) -> None:
    """What is no tick stands in the recording with bytes and reason, and the run goes on."""
    bench = make_bench(any_broker, 300)
    good = b'{"instrument_token":900001,"ts_event":1736154000000000000,"price":"%s"}'
    bench.send(b"\xff\x00", b"", b'{"instrument_token":7,"price":"1"}', good % b"1.23456789")
    bench.produce(300)
    bench.finish("paper")

    found = [c.detail for c in bench.controls() if c.verb == QUARANTINE]
    assert [0, 1, 2, 3] == [detail["offset"] for detail in found]
    assert [b"\xff\x00", b""] == [detail["payload"] for detail in found[:2]]
    reasons = [detail["reason"] for detail in found]
    assert "was empty" in reasons[1]
    assert "7 is not in the instrument table" in reasons[2]
    assert "1.23456789" in reasons[3]
    assert 4 == bench.said('"event": "quarantine"')
    assert 300 == bench.verify()["covered"]["ticks"]


def test_flood_of_poison_does_not_flood_the_log(make_bench: Make, mock: Broker) -> None:
    """Thousands of undecodable messages are all kept, and said a few times with their count."""
    bench = make_bench(mock, 100)
    bench.send(*(b"poison %d" % n for n in range(3000)))
    bench.produce(100)
    bench.finish("record")

    with open_recording(bench.folder) as recording:
        controls = recording.controls()
    kept = [c.detail["payload"] for c in controls if c.verb == QUARANTINE]
    assert [b"poison %d" % n for n in range(3000)] == kept
    assert bench.said("quarantine") < 20


def test_topics_without_messages(make_bench: Make, any_broker: Broker) -> None:
    """Empty topics and partitions are no error; a run of no tick proves nothing, and says so."""
    bench = make_bench(any_broker, 100)
    said = bench.finish("paper")
    assert '"ticks": 0' in said
    wide = bench._replace(topic=bench.topic + "-wide", folder=bench.folder.with_name("wide"))
    any_broker.create_topic(wide.topic, 3)
    wide.produce(100)
    wide.finish("record")
    wide.check_recording()
    gone = bench._replace(topic=bench.topic + "-absent", folder=bench.folder.with_name("none"))
    said = gone.finish("record", code=2)
    assert f"topic '{gone.topic}' is not at {any_broker.bootstrap_servers}" in said
    assert not gone.folder.exists()


def test_second_runner_is_refused(
    make_bench: Make, mock: Broker, cli: Callable[..., Any], tmp_path: Path
) -> None:
    """One runner a folder, and one configuration: the second is refused and changes nothing."""
    bench = make_bench(mock, 600)
    process = bench.start("paper")
    bench.produce(300)
    bench.await_ticks(process, 300)
    before = (bench.folder / "manifest.json").read_bytes()
    assert "another runner is at work" in bench.finish("paper", code=2)
    assert before == (bench.folder / "manifest.json").read_bytes()
    assert 0 == bench.stop(process, signal.SIGINT)[0]
    (tmp_path / "rules.yaml").write_text(
        (tmp_path / "rules.yaml").read_text().replace("threshold: 0.002", "threshold: 0.003")
    )
    assert "another configuration" in bench.finish("paper", code=2)
    bench.verify()

    recorder = bench._replace(folder=tmp_path / "rec")
    process = recorder.start("record")
    recorder.await_ticks(process, 300)
    assert "another runner is at work" in recorder.finish("record", code=2)
    assert 0 == recorder.stop(process, signal.SIGTERM)[0]
    recorder.check_recording()


def test_failing_strategy_and_missing_model_stop_nobody(
    make_bench: Make, mock: Broker, tmp_path: Path
) -> None:
    """Errors at every 100th tick are counted, a missing model is skipped visibly, others run."""
    bench = make_bench(mock, 2000)
    (tmp_path / "failing.py").write_text(FAILING)
    (tmp_path / "ml.yaml").write_text(
        "strategies:\n  - {strategy_name: ml, strategy_type: ml_momentum,"
        " instruments: [900001], parameters: {model_path: absent.onnx}}\n"
    )
    files = [tmp_path / name for name in ("rules.yaml", "failing.py", "ml.yaml")]
    options = [word for file in files for word in ("--strategies", str(file))]
    process = bench.start("paper", *options)
    bench.produce(900)
    bench.await_ticks(process, 700)
    process.kill()
    process.wait()
    bench.produce(1100)
    said = bench.finish("paper", *options)

    assert "absent.onnx" in said
    found = json.loads((bench.folder / "manifest.json").read_bytes())
    assert ["ml"] == [skipped["strategy_id"] for skipped in found["skipped"]]
    failed = [e for e in found["report"]["executors"] if e["strategy_id"] == "failing"]
    assert 10 < failed[0]["errors"] <= 20
    bench.check_recording(bench.folder / "recording")
    assert bench.check_signals() > 0
    bench.verify()


@pytest.mark.kafka
def test_markers_of_transactions_are_no_losses(make_bench: Make, kafka_broker: Broker) -> None:
    """Offsets that transactions skip are noted as gaps; every tick is there, each once."""
    from confluent_kafka import Producer

    from parity.model.ticks import TickBatch
    from parity.sources.codecs.native import encode_batch
    from parity.sources.synthetic import TABLE

    bench = make_bench(kafka_broker, 300)
    producer = Producer(
        {"bootstrap.servers": kafka_broker.bootstrap_servers, "transactional.id": bench.topic}
    )
    producer.init_transactions(30)
    payloads = encode_batch(TickBatch.from_records(bench.records, TABLE))
    for lo in range(0, 300, 100):
        producer.begin_transaction()
        for payload in payloads[lo : lo + 100]:
            producer.produce(bench.topic, payload, partition=0)
        producer.commit_transaction(30)
    producer.begin_transaction()
    producer.produce(bench.topic, b"never committed", partition=0)
    producer.flush(10)
    producer.abort_transaction(30)
    bench.finish("paper")
    bench.finish("paper")

    with open_recording(bench.folder / "recording") as recording:
        kept = [int(t) for b in recording.batches() for t in b.ticks.column("trade_id")]
    assert bench.records["trade_id"].tolist() == kept
    gaps = [c.detail for c in bench.controls() if c.verb == "gap"]
    assert [(100, 101), (201, 202)] == [(g["offset"], g["next_offset"]) for g in gaps]
    assert {"skipped"} == {g["reason"] for g in gaps}
    assert 300 == bench.verify()["covered"]["ticks"]


@pytest.mark.kafka
def test_retention_that_passed_a_stopped_run_is_a_gap(
    make_bench: Make, kafka_broker: Broker
) -> None:
    """Ticks the broker deleted while a run stood still are a gap in the recording, said aloud."""
    from confluent_kafka import TopicPartition
    from confluent_kafka.admin import AdminClient

    bench = make_bench(kafka_broker, 600)
    bench.produce(200)
    bench.finish("paper")
    bench.produce(400)
    admin = AdminClient({"bootstrap.servers": kafka_broker.bootstrap_servers})
    for future in admin.delete_records([TopicPartition(bench.topic, 0, 350)]).values():
        future.result(30)
    said = bench.finish("paper")

    gaps = [c.detail for c in bench.controls() if c.verb == "gap"]
    assert [(200, 350, "retention")] == [(g["offset"], g["next_offset"], g["reason"]) for g in gaps]
    assert '"event": "gap"' in said
    assert 450 == bench.verify()["covered"]["ticks"]
