"""A live run beside a venue: its fills enter in the order they came, and a replay meets them there.

The venue is a stand-in that reads the signals' topic and answers on the fills' topic; everything
between the two is a broker and a process.
"""

import json
import random
import signal
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from waiting import until

from parity.publishers.redpanda import TickProducer
from parity.recording.runs import RunFolder
from parity.testing.broker import Broker
from parity.testing.broker.admin import read_topic

pytestmark = pytest.mark.slow
Make = Callable[..., Any]
ZERODHA, FILLED, PAPER = "zerodha.signals.raw", "zerodha.orders.filled", "paper.signals.raw"
TURNING = """\
from parity import SignalResult


class Turning:
    def process_tick(self, tick, history, portfolio):
        if tick.instrument_token != 900001 or int(tick.timestamp.timestamp()) % 5:
            return None
        side = "SELL" if portfolio.position(900001) > 0 else "BUY"
        return SignalResult(side, 0.9, 2, tick.last_price, "turning")

    def get_required_history_length(self):
        return 1

    def supports_instrument(self, token):
        return True

    def get_strategy_name(self):
        return "turning"


def create(config):
    return Turning()
"""
ROWS = """\
strategies:
  - {strategy_name: turn, strategy_type: "turning.py:create", instruments: [900001],
     zerodha_trading_enabled: true, parameters: {risk: {cooldown_sec: 5}}}
  - {strategy_name: rules, strategy_type: momentum, instruments: [900001, 900002],
     parameters: &m {lookback_periods: 20, threshold: 0.002, position_size: 1,
     risk: {cooldown_sec: 10}}}
  - {strategy_name: both, strategy_type: momentum_kernel, instruments: [900001, 900002],
     brokers: [paper, zerodha], parameters: *m}
"""


class Venue:
    """Fills every signal of zerodha's topic, some in two parts, and sends some twice."""

    def __init__(self, broker: Broker, seed: int) -> None:
        self.broker = broker
        self.rng = random.Random(seed)
        self.answered = 0
        self.filled = 0
        self.sent_twice = 0
        for topic in (ZERODHA, FILLED):
            broker.create_topic(topic, 1)
        self.first = len(read_topic(broker.bootstrap_servers, ZERODHA))

    def signals(self) -> list[tuple[str, dict[str, str], dict[str, Any]]]:
        """Return key, headers and envelope of what came since the test began."""
        found = read_topic(self.broker.bootstrap_servers, ZERODHA)[self.first :]
        return [(key, headers, json.loads(body)) for key, headers, body in found]

    def answer(self, *noise: bytes) -> None:
        """Fill what is new; `noise` is sent between."""
        messages = []
        for _, headers, envelope in self.signals()[self.answered :]:
            said = envelope["data"]
            quantity = Decimal(str(said["quantity"]))
            cuts = [quantity] if self.rng.random() < 0.5 else [quantity / 4, quantity * 3 / 4]
            for n, part in enumerate(cuts):
                data = {
                    "order_id": f"o-{headers['signal_no']}", "strategy_id": said["strategy_id"],
                    "instrument_token": said["instrument_token"], "quantity": str(part),
                    "fill_price": said["price"], "timestamp": said["timestamp"],
                    "side": said["signal_type"], "fees": "0.01", "broker": "zerodha",
                }  # fmt: skip
                body = {"id": f"{headers['signal_id']}-{n}", "type": "order_filled", "data": data}
                again = 1 + (self.rng.random() < 0.2)
                self.sent_twice += again - 1
                self.filled += 1
                messages += [json.dumps(body).encode()] * again
            self.answered += 1
        with TickProducer(self.broker.bootstrap_servers, FILLED, partition=0) as producer:
            producer.send(("k", message) for message in [*messages, *noise])


def rows(tmp_path: Path) -> list[str]:
    """Write the strategies, and return the options that name them."""
    (tmp_path / "turning.py").write_text(TURNING)
    (tmp_path / "live.yaml").write_text(ROWS)
    files = [tmp_path / "turning.py", tmp_path / "live.yaml"]
    return [word for file in files for word in ("--strategies", str(file))]


def live(bench: Any, tmp_path: Path, *options: str) -> Any:
    """Start the live run of the rows above."""
    return bench.start("live", "--confirm", *rows(tmp_path), *options)


def test_fills_from_outside_survive_a_kill_and_verify(
    make_bench: Make, any_broker: Broker, seed: int, tmp_path: Path
) -> None:
    """Killed between signals and fills, restarted, stopped: each fill once, and identical."""
    bench = make_bench(any_broker, 3000, seed)
    venue = Venue(any_broker, seed)
    process = live(bench, tmp_path)
    bench.produce(600)
    bench.await_ticks(process, 500)
    venue.answer(b"poison", b'{"type":"order_failed","data":{}}')
    bench.produce(600)
    bench.await_ticks(process, 500)
    process.kill()
    process.wait()
    venue.answer()  # while nobody reads
    process = live(bench, tmp_path)
    bench.produce(900)
    bench.await_ticks(process, 900)
    venue.answer()
    bench.produce(900)
    bench.await_ticks(process, 800)
    until(lambda: venue.filled == sum(c.verb == "fill" for c in bench.controls()))
    code, _ = bench.stop(process, signal.SIGTERM)

    assert 0 == code, bench.log.read_text()
    controls = bench.controls()
    fills = [c for c in controls if c.verb == "fill"]
    assert venue.filled == len(fills) > 10
    assert len(fills) == len({c.detail["event_id"] for c in fills})
    odd = [c.detail["reason"] for c in controls if c.verb == "quarantine"]
    assert venue.sent_twice == sum("came before" in reason for reason in odd)
    assert venue.sent_twice + 2 == len(odd)
    check_topics(bench, venue)
    verdict = bench.verify()
    assert verdict["covered"]["fills"] > len(fills)  # and those of the paper executors
    run = RunFolder(bench.folder)
    assert "live" == run.manifest.mode
    assert [FILLED] == run.manifest.settings["fills"]
    outside = [r for r in run.rows("decisions") if r["kind"] == "fill" and r["broker"] != "paper"]
    assert len(fills) == len(outside)
    turned = [e["data"]["signal_type"] for _, _, e in venue.signals()
              if e["data"]["strategy_id"] == "turn"]  # fmt: skip
    assert {"BUY", "SELL"} == set(turned)  # a fill was seen, and turned it
    print(f"{any_broker.kind}: {len(fills)} fills, {venue.sent_twice} sent twice, identical")


def check_topics(bench: Any, venue: Venue) -> None:
    """Each approved signal stands once in its own broker's topic, keyed and with its envelope."""
    run = RunFolder(bench.folder)
    approved = [r for r in run.rows("decisions") if r["kind"] == "approved"]
    at_zerodha = venue.signals()
    found = read_topic(bench.broker.bootstrap_servers, PAPER)
    on_paper = [(k, h, json.loads(b)) for k, h, b in found if h["run_id"] == run.manifest.run_id]
    for broker, messages in (("zerodha", at_zerodha), ("paper", on_paper)):
        mine = [r for r in approved if r["broker"] == broker]
        assert [r["signal_no"] for r in mine] == [int(h["signal_no"]) for _, h, _ in messages]
        assert mine
        for row, (key, headers, envelope) in zip(mine, messages, strict=True):
            said = envelope["data"]
            assert f"{row['strategy_id']}:{row['instrument_token']}" == key == envelope["key"]
            assert ("trading_signal", broker, 1) == tuple(
                envelope[name] for name in ("type", "broker", "version")
            )
            assert row["signal_id"] == headers["signal_id"] == envelope["id"]
            assert said["signal_type"] in ("BUY", "SELL")
    assert {"turn", "both"} == {e["data"]["strategy_id"] for _, _, e in at_zerodha}
    assert {"rules", "both"} == {e["data"]["strategy_id"] for _, _, e in on_paper}


def test_live_is_never_started_by_accident(make_bench: Make, mock: Broker, tmp_path: Path) -> None:
    """Without --confirm, and where nothing would be live, it ends with 2 and leaves nothing."""
    bench = make_bench(mock, 10)
    said = bench.finish("live", *rows(tmp_path), code=2)
    assert "turn to zerodha.signals.raw" in said
    assert "add --confirm" in said
    paper = ("--strategies", str(tmp_path / "rules.yaml"))
    assert "nothing would be live" in bench.finish("live", "--confirm", *paper, code=2)
    assert not (bench.folder / "manifest.json").exists()
