"""A topic that refuses signals: they die in the ledger, their strategies pause, and it replays."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from waiting import until

from parity.analysis.deliveries import deliveries_of
from parity.compose.status import status_of
from parity.live.ledger import FillLine, LedgerLine, read_ledger
from parity.recording.runs import RunFolder
from parity.testing.broker import Broker

pytestmark = pytest.mark.slow
Make = Callable[..., Any]
PRODUCE, NOT_AUTHORIZED = 0, 29  # a request and an error of Kafka's protocol


def test_refused_signals_pause_their_strategies(make_bench: Make, own_mock: Broker) -> None:
    """Three tries, dead, paused by an event; a resume is the operator's; verify is identical."""
    bench = make_bench(own_mock, 2400)
    bench.produce(1600)
    own_mock.push_errors(PRODUCE, NOT_AUTHORIZED, 1000)
    process = bench.start("paper")
    until(lambda: bench.said("publisher_failed"))
    process.kill()
    process.wait()
    bench.finish("paper")

    controls = bench.controls()
    dead = [c for c in controls if c.verb == "publisher_failed"]
    paused = [c for c in controls if c.verb == "strategy_paused"]
    assert dead
    assert {"publisher_failed"} == {c.detail["reason"] for c in paused}
    named = {c.detail["strategy_id"] for c in dead}
    assert named == {c.detail["strategy_id"] for c in paused}
    run = RunFolder(bench.folder)
    report = run.manifest.report
    assert report is not None
    states = {e.strategy_id: e.state for e in report.executors}
    assert {"PAUSED"} == {states[strategy_id] for strategy_id in named}
    covered = bench.verify()["covered"]
    told = 0
    for file, number, kind, count in (
        ("ledger.jsonl", "signal_no", LedgerLine, "dead"),
        ("fills.jsonl", "fill_no", FillLine, "fill_dead"),
    ):
        ledger = read_ledger(bench.folder / "deliveries" / file, kind)[1]
        buried = {line.label[0] for line in ledger if line.state == "dead"}
        assert buried == {c.detail[number] for c in dead if number in c.detail}
        assert len(buried) == covered[count]
        told += len(buried)
    assert len(dead) == told
    found = deliveries_of(bench.folder)
    assert found is not None
    seen = status_of(bench.folder)["deliveries"]
    assert {name: found[name] for name in seen} == seen
    assert [covered["dead"], covered["fill_dead"]] == [
        found[name]["dead"] for name in ("signals", "fills")
    ]
    assert named >= {one["strategy_id"] for one in found["dead"]}
    assert min(told, 20) == len(found["dead"])
    letters = (bench.folder / "deliveries" / "dead.jsonl").read_text().splitlines()
    named = [tuple(json.loads(line)["headers"].items()) for line in letters]
    assert told <= len({*named}) <= told + 1  # a kill may come between a letter and its ledger line
