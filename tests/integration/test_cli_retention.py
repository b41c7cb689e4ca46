"""Retention on the command line: recorded with a policy, pruned by hand, and read afterwards."""

import json
import re
import subprocess
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import parity
from parity.recording.journal import JournalWriter
from parity.recording.manifest import load_manifest
from parity.recording.reader import open_recording
from parity.recording.sealing import seal
from parity.recording.writer import create_recording
from parity.sources import synthetic
from parity.sources.synthetic import make_recording
from parity.testing.broker import Broker

Cli = Callable[..., subprocess.CompletedProcess[str]]
pytestmark = pytest.mark.slow
RULES = ("-s", "momentum", "--set", "threshold=0.002", "--set", "risk.cooldown_sec=30")
TICKS = 4_000  # the mock broker keeps 5 MiB of a partition
DAY_NS = 86_400 * 10**9


def in_segments(folder: Path, count: int = 4) -> Path:
    """A sealed recording in segments of 1000 ticks, received one a day, the last one today."""
    table, ticks = synthetic.generate(seed=7, ticks=1000 * count)
    create_recording(folder, table, created_by="test")
    for n in range(count):
        with JournalWriter(folder) as writer:
            records = ticks[n * 1000 : (n + 1) * 1000].copy()
            records["seq"] = range(n * 1000 + 1, (n + 1) * 1000 + 1)
            records["ts_recv"] = time.time_ns() - (count - 1 - n) * DAY_NS - 10**9
            writer.append(records)
    seal(folder)
    return folder


def ok(done: subprocess.CompletedProcess[str]) -> Any:
    """The JSON of a command that succeeded."""
    assert 0 == done.returncode, done.stderr
    return json.loads(done.stdout)


def test_pruned_by_hand_and_read_afterwards(cli: Cli, tmp_path: Path) -> None:
    """A dry run changes nothing; what is left is read by all, proofs over the rest refuse."""
    rec, runs = in_segments(tmp_path / "rec"), tmp_path / "runs"
    before = runs / "before"
    ok(cli("backtest", rec, *RULES, "--out", before, "--json"))
    prune = ("repair", rec, "--prune", "--keep-days", "1.5", "--json")
    held = {p: p.read_bytes() for p in rec.rglob("*") if p.is_file()}
    named = ok(cli(*prune, "--dry-run"))
    assert (None, f"run {before}") == (named["pruned"], named["held_back"][0]["by"])
    let_go = {"PARITY_KEEP_NAMED": "goldens"}
    planned = ok(cli(*prune, "--dry-run", env=let_go))
    assert held == {p: p.read_bytes() for p in rec.rglob("*") if p.is_file()}
    pruned = ok(cli(*prune, env=let_go))
    assert {**planned, "dry_run": False} == pruned
    assert (1, 2000, 2, 2000) == tuple(
        pruned["pruned"][n] for n in ("first_seq", "last_seq", "segments", "ticks")
    )
    assert ok(cli(*prune))["pruned"] is None

    shown = ok(cli("inspect", rec, "--json"))
    assert (2000, "pruned") == (shown["ticks"], shown["gone"][0]["reason"])
    with parity.open(rec) as recording:
        assert 2000 == recording.ticks().collect().height
        assert [(2001, 4000)] == recording.sql("SELECT min(seq), max(seq) FROM ticks").fetchall()
    warnings = ok(cli("export", rec, tmp_path / "slice", "--json"))["warnings"]
    assert "not covered: seq 1..2000 pruned" in warnings[-1]
    for command in ("verify", "replay"):
        refused = cli(command, before)
        said = " ".join(refused.stderr.split())
        assert 3 == refused.returncode, said
        assert "seq 1..2000 pruned (2000 events, all ticks" in said
        assert "what was pruned cannot be proved any more" in said
        assert re.search(r"still holds seq \d+\.\.\d+: a new run over it", said), said
    after = cli("backtest", rec, *RULES, "--out", runs / "after", "--json")
    assert 2000 == ok(after)["ticks"]
    assert "not covered: seq 1..2000 pruned" in " ".join(after.stderr.split())
    verdict = ok(cli("verify", runs / "after", "--json"))
    assert "identical" == verdict["verdict"]
    assert any("seq 1..2000 pruned" in note for note in verdict["notes"])
    paced = ok(cli("paper", tmp_path / "paced", *RULES, "--recording", rec, "--json"))
    assert 2000 == paced["ticks"]
    assert "identical" == ok(cli("verify", tmp_path / "paced", "--json"))["verdict"]
    offsets = parity.open(tmp_path / "paced" / "recording").sql('SELECT min("offset") FROM ticks')
    assert [(2000,)] == offsets.fetchall()


def test_what_is_named_stays(cli: Cli, tmp_path: Path) -> None:
    """A backtest below runs_dir and a golden hold it; runs can be let go, a golden cannot."""
    rec = in_segments(tmp_path / "rec")
    ok(cli("backtest", rec, *RULES, "--out", tmp_path / "runs" / "a", "--json"))
    prune = ("repair", rec, "--prune", "--keep-bytes", "0")
    environment = {"PARITY_RUNS_DIR": str(tmp_path / "runs")}
    done = cli(*prune, env=environment)
    assert 0 == done.returncode, done.stderr
    assert f"{rec}: nothing to prune" in done.stdout
    assert f"from seq 1 on it is named by run {tmp_path / 'runs' / 'a'}" in done.stderr
    golden = tmp_path / "golden"
    golden.mkdir()
    (golden / "digests.json").write_text('{"recording": "rec"}')
    environment["PARITY_KEEP_NAMED"] = "goldens"
    done = cli(*prune, "--json", env=environment)
    assert ["golden"] == [n["by"].split()[0] for n in ok(done)["held_back"]]
    (golden / "digests.json").unlink()
    assert 4 == ok(cli(*prune, "--json", env=environment))["pruned"]["segments"]
    assert 0 == ok(cli("inspect", rec, "--json"))["ticks"]


def test_wrong_use_is_refused(cli: Cli, tmp_path: Path) -> None:
    """Without a policy, with a policy alone, and while a recorder is at work."""
    rec = in_segments(tmp_path / "rec", 1)
    for arguments, words in (
        (("repair", rec, "--prune"), "no policy says what goes"),
        (("repair", rec, "--keep-days", "1"), "go with --prune"),
        (("inspect", rec, "--keep-days", "1"), "go with --disk"),
        (("repair", rec, "--prune", "--keep-days", "-1"), "keep_days: expected a number ≥ 0"),
        (("repair", rec, "--prune", "--keep-bytes", "x"), "keep-bytes"),
    ):
        done = cli(*arguments)
        assert 2 == done.returncode, arguments
        assert words in " ".join(done.stderr.split()), done.stderr
    with JournalWriter(rec):
        done = cli("repair", rec, "--prune", "--keep-days", "1")
        assert 2 == done.returncode
        assert "another runner" in done.stderr
    assert 3 == cli("repair", tmp_path / "none", "--prune", "--keep-days", "1").returncode


def test_what_the_disk_holds(cli: Cli, tmp_path: Path) -> None:
    """Bytes by kind add up, segments are listed, and the policy's effect is what pruning does."""
    rec = in_segments(tmp_path / "rec")
    found = ok(cli("inspect", rec, "--disk", "--keep-days", "0.5", "--json"))
    on_disk = sum(p.stat().st_size for p in rec.rglob("*") if p.is_file())

    assert on_disk == found["bytes"]["total"]
    assert on_disk == sum(n for kind, n in found["bytes"].items() if kind != "total")
    assert [(1, 1000), (1001, 2000), (2001, 3000), (3001, 4000)] == [
        (s["first_seq"], s["last_seq"]) for s in found["segments"]
    ]
    assert [True, True, True, False] == [s["would_go"] for s in found["segments"]]
    assert [1000] * 4 == [s["ticks"] for s in found["segments"]]
    held = sum(s["bytes"] for s in found["segments"])
    assert held == found["bytes"]["ticks"]
    assert held / 3 == pytest.approx(found["rate"]["bytes_per_day"], rel=0.001)
    assert found["free_bytes"] > 0
    assert found["rate"]["free_lasts_days"] > 0
    shown = cli("inspect", rec, "--disk", "--keep-days", "0.5").stdout
    assert "retention: keep 0.5 days; 3 segments would be pruned now, seq 1..3000" in shown
    ok(cli("repair", rec, "--prune", "--keep-days", "0.5", "--json"))
    again = ok(cli("inspect", rec, "--disk", "--keep-days", "0.5", "--json"))
    assert [(3001, 4000)] == [(s["first_seq"], s["last_seq"]) for s in again["segments"]]
    assert again["retention"]["would_prune"] is None
    run = tmp_path / "run"
    ok(cli("paper", run, *RULES, "--recording", rec, "--json"))
    whole = ok(cli("inspect", run, "--disk", "--json"))
    assert whole["bytes"]["total"] == sum(p.stat().st_size for p in run.rglob("*") if p.is_file())
    assert "checkpoint" in whole["recording"]["retention"]["named_by"][0]["by"]


@pytest.fixture
def topic(broker: Broker) -> str:
    """A topic of one partition that no other test uses, and where paper signals go."""
    name = f"retention.{uuid.uuid4().hex[:8]}"
    broker.create_topic(name)
    broker.create_topic("paper.signals.raw")
    broker.create_topic("paper.orders.filled")
    return name


def test_a_recorder_holds_its_limit(cli: Cli, broker: Broker, topic: str, tmp_path: Path) -> None:
    """Recorded twice: at the second time the first segment goes, and the offsets go on."""
    make_recording(tmp_path / "source", seed=7, ticks=TICKS)
    at = ("--bootstrap-servers", broker.bootstrap_servers)
    rec = tmp_path / "rec"
    record = ("record", rec, "--topics", topic, *at, "--exit-at-end", "--json")
    ok(cli("produce", tmp_path / "source", "--topic", topic, *at, "--json"))
    first = ok(cli(*record, "--from", "earliest", "--instrument-table", tmp_path / "source"))
    assert (TICKS, 0) == (first["ticks"], first["pruned_segments"])
    size = load_manifest(rec).parts[0].bytes
    ok(cli("produce", tmp_path / "source", "--topic", topic, *at, "--json"))
    second = ok(cli(*record, "--keep-bytes", size * 3 // 2))

    assert (TICKS, 1, 0) == (
        second["ticks"], second["pruned_segments"], second["pruning_failures"],
    )  # fmt: skip
    (gone,) = load_manifest(rec).gone
    assert (1, TICKS) == (gone.first_seq, gone.ticks)
    with open_recording(rec) as recording:
        offsets = [o for b in recording.batches() for o in b.ticks.column("offset").tolist()]
    assert len(offsets) == TICKS
    assert offsets == list(range(offsets[0], offsets[0] + TICKS))


def test_a_paper_run_is_pruned_up_to_its_checkpoints(
    cli: Cli, broker: Broker, topic: str, tmp_path: Path
) -> None:
    """It goes on from its checkpoint as if nothing was missing; its proof refuses, by name."""
    make_recording(tmp_path / "source", seed=7, ticks=TICKS)
    at = ("--bootstrap-servers", broker.bootstrap_servers)
    run = tmp_path / "run"
    paper = ("paper", run, *RULES, "--topics", topic, *at, "--exit-at-end", "--json")
    ok(cli("produce", tmp_path / "source", "--topic", topic, *at, "--json"))
    ok(cli(*paper, "--from", "earliest", "--instrument-table", tmp_path / "source"))
    assert "identical" == ok(cli("verify", run, "--json"))["verdict"]
    ok(cli("produce", tmp_path / "source", "--topic", topic, *at, "--json"))
    second = ok(cli(*paper, "--keep-bytes", "0"))
    assert 2 * TICKS == second["ticks"]
    (gone,) = load_manifest(run / "recording").gone
    checkpoints = sorted(int(p.stem) for p in (run / "checkpoints").glob("*.ckpt"))
    assert TICKS <= gone.last_seq <= checkpoints[0]
    refused = cli("verify", run)
    assert 3 == refused.returncode
    assert f"seq 1..{gone.last_seq} pruned" in " ".join(refused.stderr.split())

    for checkpoint in (run / "checkpoints").glob("*.ckpt"):
        checkpoint.unlink()
    stopped = cli(*paper)
    assert 3 == stopped.returncode
    assert "the run's newest checkpoint is at seq 0" in " ".join(stopped.stderr.split())
