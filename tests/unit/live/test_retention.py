"""Retention beside a running recorder: it prunes, journals what went, and never stops recording."""

import asyncio
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from brokerless import Brokerless

from parity.live import retention as live_retention
from parity.live.runner import Outcome
from parity.live.start import start
from parity.model.events import Control
from parity.recording.manifest import load_manifest
from parity.recording.pruning import Retention
from parity.recording.reader import open_recording
from parity.recording.retention import Policy
from parity.recording.rotation import Rotation
from parity.sources import synthetic
from parity.sources.arrivals import Arrivals, Stream

TABLE, TICKS = synthetic.generate(ticks=60)


class Paused(Brokerless):
    """A source of ten ticks a turn that waits, turn by turn, until the recorder has pruned."""

    def __init__(self, folder: Path, turns: int, failing: Any = None) -> None:
        super().__init__(("t", 0))
        self.folder = folder
        self.turns = turns
        self.failing = failing
        self.at = 0

    def start_at(self, positions: Mapping[Stream, int]) -> None:
        """Go on behind what is recorded."""
        self.at = positions.get(("t", 0), 0)

    def positions(self) -> dict[int, int]:
        """Where it starts."""
        return {0: self.at}

    async def take(self, wait_s: float) -> Arrivals | None:
        """Return ten ticks, or none while the sealer is at work; None at the end."""
        if not self.turns:
            return None
        if self.at and not self.calm():
            await asyncio.sleep(0.01)
            return Arrivals(TICKS[:0].copy(), [], {})
        records = np.resize(TICKS, 10).copy()
        records["stream"] = 0
        records["offset"] = np.arange(self.at, self.at + 10)
        self.at += 10
        self.turns -= 1
        return Arrivals(records, [], {0: self.at})

    def calm(self) -> bool:
        """Whether all is sealed and pruned, or pruning has failed as it was meant to."""
        manifest = load_manifest(self.folder)
        if self.failing is None:
            return self.at == sum(gone.ticks or 0 for gone in manifest.gone)
        return self.failing.is_set() and self.at == sum(
            part.rows for part in manifest.of_kind("ticks")
        )


def record(folder: Path, source: Paused, policy: Policy) -> Outcome:
    """Record with segments of one turn each."""

    async def scenario() -> Outcome:
        return await start(
            folder, TABLE, source, created_by="test", stop=asyncio.Event(),
            rotation=Rotation(bytes_max=1000), retention=Retention(policy),
        )  # fmt: skip

    return asyncio.run(asyncio.wait_for(scenario(), 60))


def events_of(folder: Path, verb: str) -> list[Control]:
    """The controls of a verb."""
    return [c for c in open_recording(folder).controls() if c.verb == verb]


def test_segments_go_while_it_records(tmp_path: Path) -> None:
    """Each turn's segment is pruned; events say what, the last one at the next start."""
    folder = tmp_path / "rec"
    outcome = record(folder, Paused(folder, 5), Policy(keep_bytes=0))
    (gone,) = load_manifest(folder).gone
    events = events_of(folder, "pruned")

    assert ("pruned", 1) == (gone.reason, gone.first_seq)
    assert (50, 0) == (outcome.ticks, outcome.pruning_failures)
    assert outcome.pruned_segments >= 4
    assert outcome.pruned_bytes == gone.bytes
    assert outcome.last_seq >= gone.last_seq >= 50
    recording = open_recording(folder)
    seqs = [s for b in recording.batches() for s in b.ticks.column("seq").tolist()]
    assert all(gone.last_seq < seq <= outcome.last_seq for seq in seqs)
    assert 50 == len(seqs) + (gone.ticks or 0)
    for event in events:
        assert "keep 0 bytes" == event.detail["policy"]
        assert all(len(sha256) == 64 for _, sha256 in event.detail["files"])

    record(folder, Paused(folder, 0), Policy())
    said = max(c.detail["last_seq"] for c in events_of(folder, "pruned"))
    assert said == gone.last_seq
    record(folder, Paused(folder, 0), Policy())
    assert 1 == sum(c.detail["last_seq"] == said for c in events_of(folder, "pruned"))


def test_without_a_policy_nothing_goes(tmp_path: Path) -> None:
    """The default is to keep all."""
    folder = tmp_path / "rec"
    ready = threading.Event()
    ready.set()
    outcome = record(folder, Paused(folder, 3, failing=ready), Policy())

    assert (30, 0, 0) == (outcome.ticks, outcome.pruned_segments, outcome.pruning_failures)
    assert [] == load_manifest(folder).gone


def test_failing_to_prune_is_counted_and_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the disk says, ticks come in and are sealed."""
    folder, failed = tmp_path / "rec", threading.Event()

    def refuse(*_: Any, **__: Any) -> None:
        failed.set()
        raise OSError("no")

    monkeypatch.setattr(Retention, "apply", refuse)
    outcome = record(folder, Paused(folder, 3, failing=failed), Policy(keep_bytes=0))

    assert (30, 0) == (outcome.ticks, outcome.pruned_segments)
    assert outcome.pruning_failures >= 1
    assert list(range(1, 31)) == [
        s for b in open_recording(folder).batches() for s in b.ticks.column("seq").tolist()
    ]


def test_what_holds_segments_back_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By name, and again only when it is another."""
    folder, ready = tmp_path / "rec", threading.Event()
    ready.set()
    record(folder, Paused(folder, 2, failing=ready), Policy())
    golden = tmp_path / "golden"
    golden.mkdir()
    (golden / "digests.json").write_text('{"recording": "rec"}')
    said: list[dict[str, Any]] = []
    monkeypatch.setattr(live_retention._log, "warning", lambda name, **more: said.append(more))
    pruner = live_retention.Pruner(folder, Retention(Policy(keep_bytes=0)), lambda: 1)
    pruner()
    pruner()

    assert [{"by": [f"golden {golden / 'digests.json'}"], "count": 1}] == said
    assert (0, []) == (pruner.segments, pruner.notes())
    (golden / "digests.json").unlink()
    pruner()
    assert 2 == pruner.segments
    assert ["pruned"] == [note.verb for note in pruner.notes()]
