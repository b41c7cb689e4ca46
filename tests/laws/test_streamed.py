"""Law: what a run decided is exported part by part, and the parts never show."""

import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from parity.analysis import frames, tables
from parity.cli import app
from parity.recording.reader import open_recording
from parity.recording.runs import RunFolder
from parity.recording.slices import Range

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "recordings/demo"
RUNNER = CliRunner(env={"NO_COLOR": "1", "COLUMNS": "120"})


def _run(*words: object) -> None:
    done = RUNNER.invoke(app, [str(word) for word in words])
    assert done.exit_code == 0, done.stderr


@pytest.fixture(scope="module")
def cut(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A backtest in one part, and the same in parts of a few seqs, as a long run writes them."""
    root = tmp_path_factory.mktemp("runs")
    whole, parts = root / "whole", root / "parts"
    _run("backtest", DEMO, "-s", "momentum", "--set", "threshold=0.001", "--out", whole)
    shutil.copytree(whole, parts)
    for stream in ("candidates", "decisions"):
        (part,) = RunFolder(parts).parts(stream)
        table = pq.read_table(part)
        part.unlink()
        seqs = table.column("seq").to_numpy()
        for start in range(0, int(part.stem), 9_000):
            rows = table.filter((seqs > start) & (seqs <= start + 9_000))
            pq.write_table(rows, part.with_name(f"{start + 9_000:020d}.parquet"))
    return whole, parts


@pytest.mark.parametrize("what", ["signals", "decisions", "fills"])
@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_parts_of_a_run_never_show(
    cut: tuple[Path, Path], what: str, suffix: str, tmp_path: Path
) -> None:
    """Rows, types and the scale of decimals are the same, however the run was cut."""
    whole, parts = cut
    assert len(RunFolder(parts).parts("decisions")) > 3
    for run, name in ((whole, "a"), (parts, "b")):
        _run("export", run, tmp_path / f"{name}{suffix}", "--what", what)

    if suffix == ".csv":
        texts = [(tmp_path / f"{n}.csv").read_text().splitlines() for n in ("a", "b")]
        assert [r.split(",")[1:] for r in texts[0]] == [r.split(",")[1:] for r in texts[1]]
        assert len(texts[0]) > 20
        return
    one, two = (pq.read_table(tmp_path / f"{n}.parquet").drop_columns("run_id") for n in ("a", "b"))
    assert one.schema == two.schema
    assert one.equals(two)


def test_one_part_is_held_at_a_time(
    cut: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No read of the export takes more than one part, and each piece is of one."""
    whole, parts = cut
    asked: list[str | None] = []
    read = frames._table

    def table(run: Path, stream: str, part: str | None = None, **more: Any) -> object:
        asked.append(part)
        return read(run, stream, part, **more)

    monkeypatch.setattr(frames, "_table", table)
    with open_recording(DEMO) as recording:
        pieces = [
            len(piece)
            for piece in tables.stream_rows(
                RunFolder(parts), "signals", Range(), recording.table, "iso", text=False
            )
        ]

    assert None not in asked
    assert len(pieces) > 3
    assert sum(pieces) == len(frames.signals(whole))
