"""A day at a thousand ticks a second, as fast as it goes: memory does not grow, nor does the disk.

The command itself runs, from a recording with retention on, and through a broker. A soak of 1 000
takes 90 million ticks (a day at 1 000 a second has 86.4), and a tenth of that through Kafka.
"""

import os
import subprocess
import sys
import uuid
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from waiting import until

from parity.live.calling import ask
from parity.live.produce import produce
from parity.model.errors import ParityError
from parity.model.ticks import TickBatch
from parity.recording.reader import open_recording
from parity.recording.runs import RunFolder
from parity.recording.writer import RecordingWriter
from parity.sources import synthetic
from parity.testing.broker import Broker

pytestmark = pytest.mark.slow
TICKS = 400_000
EACH = 90_000  # ticks for each of a soak's count
BLOCK = 1_000_000
WARM = 10_000_000  # what is taken once: pools of memory, code, windows of trade ids
SEEN_EACH = 200_000
MB = 1_000_000
GROWTH_MAX = 1 * MB  # for ten million ticks
SMOKE_MAX = 200 * MB  # between the first look and the last of a short run, caches and all
KEEP_MAX = 64 * MB
KEEP_EACH = 2  # bytes for each tick, which takes some eight: most are let go of
LIMIT_S = 3600.0
RULES = """\
strategies:
  - {strategy_name: momentum, strategy_type: momentum_kernel, instruments: [900001, 900002],
     parameters: {lookback_periods: 50, threshold: 0.0105, position_size: 1}}
  - {strategy_name: reversion, strategy_type: mean_reversion_kernel,
     instruments: [900001, 900002],
     parameters: {lookback_periods: 50, z_entry: 4.5, position_size: 1, risk: {cooldown_sec: 10}}}
"""


class Look(NamedTuple):
    """One look at a running command."""

    ticks: int
    rss: int


def written(folder: Path, count: int) -> Path:
    """Return a recording of the same million ticks again and again, later each time."""
    table, block = synthetic.generate(seed=1, ticks=min(count, BLOCK))
    span = int(block["ts_event"][-1] - block["ts_event"][0]) + 1
    trades = int(block["trade_id"].max()) + 1
    with RecordingWriter(folder, table, order="arrival", created_by="test") as out:
        for _ in range(count // len(block)):
            out.append(TickBatch.from_records(block.copy(), table))
            block["seq"] += len(block)
            block["trade_id"] += trades
            for name in ("ts_event", "ts_recv"):
                block[name] += span
    return folder


def watched(process: subprocess.Popen[bytes], run: Path, each: int) -> list[Look]:
    """Look at a run each so many ticks until it ends."""
    page, looks = os.sysconf("SC_PAGE_SIZE"), [Look(0, 0)]
    statm = Path(f"/proc/{process.pid}/statm")

    def ended() -> bool:
        if process.poll() is not None:
            return True
        try:
            ticks = ask(run, {"verb": "status"})["ticks"]
            rss = int(statm.read_text().split()[1]) * page
        except (ParityError, OSError, IndexError):  # not open yet, or just gone
            return False
        if ticks - looks[-1].ticks >= each:
            looks.append(Look(ticks, rss))
        return False

    until(ended, lambda: f"still running: {looks[-1]}", limit_s=LIMIT_S)
    return looks[1:]


def growth(looks: list[Look]) -> tuple[float, float]:
    """Return bytes for ten million ticks, behind the first ten million, and their standard error.

    What is read, sealed and freed comes and goes, by some 20 MB: hence many looks, and a line.
    """
    warm = np.array([look for look in looks if look.ticks >= WARM], np.float64)
    slopes, errors = np.polyfit(warm[:, 0] / WARM, warm[:, 1], 1, cov=True)
    return float(slopes[0]), float(np.sqrt(errors[0, 0]))


def keep_of(count: int) -> int:
    """Return how many bytes of so many ticks are held."""
    return min(KEEP_MAX, KEEP_EACH * count)


def paper(tmp_path: Path, count: int, *words: str) -> tuple[Path, list[str]]:
    """Return a run's folder and the command that makes it."""
    rules, run = tmp_path / "rules.yaml", tmp_path / "run"
    rules.write_text(RULES)
    command = [sys.executable, "-m", "parity", "paper", str(run), "--strategies", str(rules)]
    rotate = "1" if count < BLOCK else "16"  # so that few ticks make dozens
    return run, [*command, "--rotate-mb", rotate, "--keep-bytes", str(keep_of(count)), *words]


def followed(run: Path, command: list[str], count: int, soak: int) -> None:
    """Run the command to its end, and hold memory, disk and counts against what must be."""
    log = run.with_suffix(".log")
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, stdout=file, stderr=file, env=os.environ | {"NO_COLOR": "1"}
        )
    try:
        looks = watched(process, run, min(SEEN_EACH, count // 20))
    finally:
        process.kill()
        process.wait()
    assert 0 == process.returncode, log.read_text()
    with open_recording(run / "recording") as recording:
        kept = sum(part.bytes for part in recording.manifest.parts)
        gone = sum(one.ticks or 0 for one in recording.manifest.gone)
        assert count == recording.tick_rows + gone
    report = RunFolder(run).manifest.report
    assert report is not None
    assert count == report.ticks
    assert all(one.signals for one in report.executors)
    assert gone
    assert kept < 2 * keep_of(count)
    rose = looks[-1].rss - looks[0].rss
    print(f"{count} ticks, {len(looks)} looks, {looks[0].rss // MB} to {looks[-1].rss // MB} MB")
    if soak and count >= 3 * WARM:
        slope, error = growth(looks)
        print(f"behind {WARM} ticks {slope / MB:.2f} MB each 10 M, standard error {error / MB:.2f}")
        assert error < GROWTH_MAX
        assert slope - 2 * error < GROWTH_MAX
    else:
        assert rose < SMOKE_MAX


def test_a_day_from_a_recording_takes_no_more_memory(tmp_path: Path, soak: int) -> None:
    """Through journal, sealing, retention, decisions, deliveries and checkpoints."""
    count = soak * EACH // BLOCK * BLOCK or TICKS
    source = written(tmp_path / "source", count)
    run, command = paper(tmp_path, count, "--recording", str(source))
    followed(run, command, count, soak)


@pytest.mark.kafka
def test_a_topic_takes_no_more_memory(tmp_path: Path, soak: int, kafka_broker: Broker) -> None:
    """The same through Kafka, read from its earliest message to its end."""
    count = soak * EACH // 10 // BLOCK * BLOCK or TICKS
    source, topic = written(tmp_path / "source", count), f"ticks-{uuid.uuid4().hex[:10]}"
    for one in (topic, "paper.signals.raw", "paper.orders.filled"):
        kafka_broker.create_topic(one, 1)
    servers = kafka_broker.bootstrap_servers
    with open_recording(source) as opened:
        produce(opened, topic, bootstrap=servers)
    reading = ["--topics", topic, "--from", "earliest", "--exit-at-end"]
    placed = ["--bootstrap-servers", servers, "--instrument-table", str(source)]
    run, command = paper(tmp_path, count, *reading, *placed)
    followed(run, command, count, soak)
