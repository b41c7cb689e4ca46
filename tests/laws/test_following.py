"""A proof that goes on with its run says what one at the end says, and replays each tick once.

Looks are simulated by what a live run leaves on disk between two checkpoints: the recording, the
parts written so far, and an open manifest. A restart after a kill takes parts away again.
"""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from parity.compose import watching
from parity.compose.feeds import Feed
from parity.compose.modes import paper
from parity.compose.proofs import verify
from parity.compose.watching import watched
from parity.core.engine import Engine
from parity.live import ledger as ledgers
from parity.live.delivery import Delivery
from parity.model.errors import ConfigError
from parity.model.events import EventBatch
from parity.recording.holding import held, is_held
from parity.recording.reader import open_recording
from parity.recording.runs import MANIFEST, STREAMS, RunFolder
from parity.settings.strategies import load_strategies
from parity.sources import paced
from parity.sources.synthetic import make_recording

TICKS = 4_000
SETS = ["threshold=0.001"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A paper run of four checkpoints."""
    folder = tmp_path_factory.mktemp("following")
    make_recording(folder / "rec", seed=5, ticks=TICKS)
    with open_recording(folder / "rec") as read:
        table = read.table
    specs = load_strategies(["momentum", "mean_reversion"], SETS)
    feed = Feed(recording=folder / "rec")
    with pytest.MonkeyPatch.context() as patch:
        # Each checkpoint comes when it is due, however slow or fast the machine is.
        patch.setattr(Delivery, "quiet", Delivery.settle)
        patch.setattr(paced, "_BATCH_ROWS", 250)
        paper(folder / "run", specs, feed, table=table, checkpoint_ticks=1_000)
    assert len(RunFolder(folder / "run").parts("decisions")) == 4
    return folder / "run"


class Stages:
    """Puts a copy of a run back to what it was after some of its parts; `go` is the wait."""

    def __init__(self, run: Path, copy: Path, parts: list[int]) -> None:
        self.run = run
        self.copy = copy
        self.left = list(parts)
        shutil.copytree(run, copy)
        self.go()

    def go(self) -> None:
        """Go to the next stage; after the last one the run is complete."""
        manifest = json.loads((self.run / MANIFEST).read_text())
        count = self.left.pop(0) if self.left else 4
        over = not self.left
        if not over:
            manifest |= {"state": "open", "report": None, "last_seq": 0, "files": {}}
            manifest["recording"]["content_hash"] = ""
        for stream in STREAMS:
            shutil.rmtree(self.copy / stream)
            (self.copy / stream).mkdir()
            for part in RunFolder(self.run).parts(stream)[: 4 if over else count]:
                shutil.copy(part, self.copy / stream)
        (self.copy / MANIFEST).write_text(json.dumps(manifest))


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Every seq that an engine of the watch was given."""
    seen: list[int] = []
    process = Engine.process

    def processed(self: Engine, batch: EventBatch) -> Any:
        seen.extend(batch.ticks.column("seq").tolist())
        return process(self, batch)

    monkeypatch.setattr(Engine, "process", processed)
    monkeypatch.setattr(watching, "is_held", lambda _: True)
    return seen


@pytest.mark.parametrize("parts", [[1, 2, 3, 4], [0, 0, 2], [3, 1, 2, 4], [2], [4, 4]])
def test_each_look_goes_on_where_the_last_one_ended(
    run: Path, tmp_path: Path, counted: list[int], parts: list[int]
) -> None:
    """Whatever is on disk at each look, parts taken away included, every tick is replayed once."""
    stages = Stages(run, tmp_path / "copy", parts)
    verdicts = list(watched(stages.copy, stages.go))
    replayed = list(counted)
    whole = verify(stages.copy)

    assert list(range(1, TICKS + 1)) == replayed
    assert ["identical"] * len(verdicts) == [v.verdict for v in verdicts]
    ticks = [v.covered["ticks"] for v in verdicts]
    assert sorted(ticks) == ticks
    # Of checkpoints the newest two are kept: an early look holds its state against what is there.
    assert whole == verdicts[-1]


@pytest.mark.parametrize(("at", "parts"), [(0, [1, 3]), (-1, [2, 3, 4]), (0.5, [0, 2, 1, 3])])
def test_the_first_difference_is_the_one_of_a_whole_proof(
    run: Path, tmp_path: Path, at: float, parts: list[int]
) -> None:
    """Edit one row anywhere: the watch ends with it, at the first look that can see it."""
    folder = tmp_path
    shutil.copytree(run, folder / "run")
    files = RunFolder(folder / "run").parts("decisions")
    rows = [(file, row) for file in files for row in range(pq.read_metadata(file).num_rows)]
    file, row = rows[int(at * len(rows)) if at > 0 else int(at)]
    table = pq.read_table(file)
    values = table.column("quantity").to_pylist()
    values[row] = 77.0
    index = table.schema.get_field_index("quantity")
    pq.write_table(table.set_column(index, "quantity", pa.array(values, pa.float64())), file)
    seq = int(np.array(table.column("seq"))[row])
    stages = Stages(folder / "run", folder / "copy", [*parts, 4, 4])
    (folder / "copy" / "lock").mkdir()
    with held(folder / "copy"):
        *before, last = list(watched(stages.copy, stages.go))

    seen_by = next(n for n, part in enumerate(files, 1) if part == file)
    assert len(before) == len({n for n in parts if 0 < n < seen_by} - _fallen(parts))
    assert all("identical" == v.verdict for v in before)
    assert "different" == last.verdict
    assert last.first_divergence is not None
    assert (seq, "quantity") == (last.first_divergence.seq, last.first_divergence.field)


@pytest.mark.parametrize("goes_on", [True, False])
def test_a_checkpoint_that_came_behind_its_part_is_compared(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, goes_on: bool
) -> None:
    """A look between a flush and its checkpoint finds the part alone; the next look finds both."""
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    saved, *_ = sorted((folder / "checkpoints").glob("*.ckpt"))
    at = [part.stem for part in RunFolder(folder).parts("decisions")].index(saved.stem) + 1
    body = msgspec.msgpack.decode(saved.read_bytes()[32:])
    body["state"]["engine"]["counts"][2] += 7
    edited = msgspec.msgpack.encode(body)
    saved.write_bytes(hashlib.blake2b(edited, digest_size=32).digest() + edited)
    alive = [True]
    monkeypatch.setattr(watching, "is_held", lambda _: alive[0])
    stages = Stages(folder, tmp_path / "copy", [at, 4 if goes_on else at, 4, 4])
    (stages.copy / "checkpoints" / saved.name).unlink()

    def go() -> None:
        stages.go()
        shutil.copy(saved, stages.copy / "checkpoints")
        alive[0] = False  # open to its end, or what was edited is named by its hash

    verdicts = list(watched(stages.copy, go))

    first = verdicts[-1].first_divergence
    assert ["identical", "different"] == [one.verdict for one in verdicts]
    assert first is not None
    assert ("checkpoints", int(saved.stem)) == (first.stream, first.seq)


def test_no_row_and_no_line_is_read_twice(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four looks: each decision is read to be compared, and to find its delivery, and not again."""
    read: list[tuple[str, int]] = []
    lines: list[int] = []
    rows, ledger = RunFolder.rows, ledgers.read_ledger

    def counted_rows(self: RunFolder, stream: str, **how: Any) -> Any:
        for row in rows(self, stream, **how):
            read.append((stream, row["seq"]))
            yield row

    def counted_lines(*args: Any) -> Any:
        found = ledger(*args)
        lines.extend(line.label[0] for line in found[1])
        return found

    alive = [True] * 4
    monkeypatch.setattr(watching, "is_held", lambda _: bool(alive) and alive.pop())
    stages = Stages(run, tmp_path / "copy", [1, 2, 3, 4, 4, 4])
    monkeypatch.setattr(RunFolder, "rows", counted_rows)
    monkeypatch.setattr(ledgers, "read_ledger", counted_lines)
    verdicts = list(watched(stages.copy, stages.go))
    monkeypatch.undo()

    kept = {stream: [r["seq"] for r in RunFolder(run).rows(stream)] for stream in STREAMS}
    assert 5 == len(verdicts)
    assert sorted(kept["candidates"]) == sorted(q for s, q in read if s == "candidates")
    assert sorted(2 * kept["decisions"]) == sorted(q for s, q in read if s == "decisions")
    delivered = verdicts[-1].covered["deliveries"] + verdicts[-1].covered["fill_deliveries"]
    assert delivered == len(lines) > 0


def _fallen(parts: list[int]) -> set[int]:
    """Return the counts that came behind a larger one: a look finds nothing new there."""
    return {n for at, n in enumerate(parts) if any(n < m for m in parts[:at])}


def test_a_run_whose_process_is_gone_ends_the_watch(run: Path, tmp_path: Path) -> None:
    """What it wrote is proved, and that it is not complete is said."""
    stages = Stages(run, tmp_path / "copy", [2, 4, 4])
    (found,) = list(watched(stages.copy, stages.go))

    assert "identical" == found.verdict
    assert any("process ended" in note for note in found.notes)
    assert any("the run is open" in note for note in found.notes)


def test_a_backtest_at_work_is_not_watched(run: Path, tmp_path: Path) -> None:
    """It holds no folder and is proved at its end: it is refused, and not said to have ended."""
    stages = Stages(run, tmp_path / "copy", [2, 4, 4])
    manifest = json.loads((stages.copy / MANIFEST).read_text())
    (stages.copy / MANIFEST).write_text(json.dumps(manifest | {"mode": "backtest"}))

    with pytest.raises(ConfigError, match="goes with a live or paper run"):
        list(watched(stages.copy, stages.go))


def test_asking_whether_a_run_is_held_lets_it_go_at_once(tmp_path: Path) -> None:
    """A probe neither keeps a runner out nor makes a folder."""
    assert not is_held(tmp_path / "none")
    assert not (tmp_path / "none").exists()
    (tmp_path / "round").symlink_to(tmp_path / "round")
    with pytest.raises(OSError, match="symbolic links"):
        is_held(tmp_path / "round")  # it cannot be told, which is no answer
    with held(tmp_path / "run"):
        assert is_held(tmp_path / "run")
        (tmp_path / "run" / "kept").touch()
    assert not is_held(tmp_path / "run")
    with held(tmp_path / "run"):
        assert is_held(tmp_path / "run")
