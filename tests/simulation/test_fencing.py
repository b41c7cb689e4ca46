"""A runner that stood still while another took over its run: with fencing it cannot publish."""

import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from waiting import LIMIT_S

from parity.recording.runs import RunFolder
from parity.testing.broker import Broker
from parity.testing.broker.admin import read_topic

pytestmark = [pytest.mark.slow, pytest.mark.kafka]
Make = Callable[..., Any]
SIGNALS = "paper.signals.raw"
CHUNK = 500


def published(bench: Any, run_id: str) -> list[int]:
    """Return the numbers of a run's signals, as readers of committed messages see them."""
    messages = read_topic(bench.broker.bootstrap_servers, SIGNALS)
    return [int(headers["signal_no"]) for _, headers, _ in messages if headers["run_id"] == run_id]


@pytest.mark.parametrize("fencing", ["transactional", "off"])
def test_a_frozen_predecessor_wakes_up(
    make_bench: Make, kafka_broker: Broker, tmp_path: Path, fencing: str
) -> None:
    """Fenced, it ends with 4 and its readers see each signal once; else the manifest warns."""
    bench = make_bench(kafka_broker, 4 * CHUNK)
    given = {"PARITY_FENCING": fencing}
    predecessor = bench.start("paper", **given)
    bench.produce(CHUNK)
    bench.await_ticks(predecessor, CHUNK - 10)
    predecessor.send_signal(signal.SIGSTOP)
    elsewhere = bench._replace(folder=tmp_path / "elsewhere" / "run")
    # As a disk that is replicated would have it there; a socket is no file of it.
    shutil.copytree(bench.folder, elsewhere.folder, ignore=shutil.ignore_patterns("*.sock"))
    for name in ("table.json", "rules.yaml"):
        shutil.copy(tmp_path / name, elsewhere.folder.parent / name)
    bench.produce(CHUNK)
    successor = elsewhere.start("paper", **given)
    elsewhere.await_ticks(successor, CHUNK - 10)
    predecessor.send_signal(signal.SIGCONT)
    bench.produce(2 * CHUNK)
    if fencing == "transactional":
        assert 4 == predecessor.wait(LIMIT_S), bench.log.read_text()
        assert "another runner took over run" in bench.log.read_text()
    else:
        bench.await_ticks(predecessor, CHUNK)
        assert 0 == bench.stop(predecessor, signal.SIGTERM)[0]
    elsewhere.await_kept(successor, 4 * CHUNK)
    code, _ = elsewhere.stop(successor, signal.SIGTERM)

    assert 0 == code, elsewhere.log.read_text()
    manifest = RunFolder(elsewhere.folder).manifest
    seen = published(bench, manifest.run_id)
    if fencing == "transactional":
        assert "transactional" == manifest.settings["fencing"]
        assert elsewhere.check_signals() == len(seen) > 0
        assert elsewhere.verify()["covered"]["deliveries"] == len(seen)
    else:
        assert "unfenced" == manifest.settings["fencing"]
        assert len(set(seen)) < len(seen)  # what fencing is for
