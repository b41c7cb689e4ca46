"""How far an import is: rows, rows in all and the pass, from the first block to the last."""

import bz2
import gzip
import zipfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from parity.cli.export import command as export_command
from parity.sources.importers import csv, exported, import_ticks

ROWS = 20_000
START = 1_748_736_000_000_000
HEADER = "ts_event,symbol,side,price,quantity"
Step = tuple[int, int | None, str]


def _text() -> bytes:
    """Rows of two instruments with quoted prices, which the reader of texts takes."""
    lines = (f'{START + n},{"AB"[n % 2]},buy,"{n % 97}1.5",{n % 13}.25' for n in range(ROWS))
    return "\n".join([HEADER, *lines, ""]).encode()


def _zip(path: Path, data: bytes) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("ticks.csv", data)


def _zst(path: Path, data: bytes) -> None:
    with pa.CompressedOutputStream(str(path), "zstd") as file:
        file.write(data)


PACKED: dict[str, Callable[[Path, bytes], object]] = {
    "ticks.csv": lambda path, data: path.write_bytes(data),
    "ticks.csv.gz": lambda path, data: path.write_bytes(gzip.compress(data)),
    "ticks.csv.bz2": lambda path, data: path.write_bytes(bz2.compress(data)),
    "ticks.csv.zst": _zst,
    "ticks.zip": _zip,
}


def _steps_of(sources: list[Path], to: Path, **more: str) -> dict[str, list[Step]]:
    seen: list[Step] = []
    import_ticks(sources, to, progress=lambda *now: seen.append(now), **more)
    return {name: [s for s in seen if s[2] == name] for name in dict.fromkeys(s[2] for s in seen)}


@pytest.mark.parametrize("name", PACKED)
def test_both_passes_count_rows_and_tell_how_many_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Law: rows rise to all of them in each pass, and never above what is said to come."""
    monkeypatch.setattr(csv, "_BLOCK_BYTES", 1 << 16)
    PACKED[name](tmp_path / name, _text())

    steps = _steps_of([tmp_path / name], tmp_path / "rec")

    assert ["pass 1 of 2", "pass 2 of 2"] == list(steps)
    for told in steps.values():
        done = [rows for rows, _, _ in told]
        assert done[0] == 0
        assert done == sorted(done)
        assert done[-1] == ROWS
        assert all(total is None or total >= rows for rows, total, _ in told)
    first = steps["pass 1 of 2"]
    assert len(first) > 5
    assert all(total is not None for rows, total, _ in first if rows)
    assert first[-1][1] == ROWS


def test_the_rows_of_an_unpacked_file_are_told_from_its_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half-way through the first pass, the rows in all are near the truth, over all files."""
    monkeypatch.setattr(csv, "_BLOCK_BYTES", 1 << 14)
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_bytes(_text())

    first = _steps_of([tmp_path / "a.csv", tmp_path / "b.csv"], tmp_path / "rec")["pass 1 of 2"]

    middle = [total for rows, total, _ in first if ROWS / 2 < rows < ROWS * 3 / 2]
    assert len(middle) > 10
    assert all(total is not None and 1.7 * ROWS < total < 2.3 * ROWS for total in middle)
    assert first[-1][:2] == (2 * ROWS, 2 * ROWS)


def test_sorting_is_a_pass_of_its_own(tmp_path: Path) -> None:
    """With --sort id rows are counted when they are sorted, and again when they are written."""
    lines = [f"{n},{n + 1}.25,0.5,9,{START + n},True,True" for n in range(90)]
    (tmp_path / "BTCUSDT-trades-2025-06.csv").write_text("\n".join(lines) + "\n")

    steps = _steps_of([tmp_path / "BTCUSDT-trades-2025-06.csv"], tmp_path / "rec", sort="id")

    assert [f"pass {n} of 3" for n in (1, 2, 3)] == list(steps)
    assert [(90, 90)] * 3 == [told[-1][:2] for told in steps.values()]


def test_a_parquet_file_says_how_many_rows_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of Parquet the rows in all are exact from the first block on."""
    monkeypatch.setattr(exported, "BATCH_ROWS", 4000)
    (tmp_path / "ticks.csv").write_bytes(_text())
    import_ticks(tmp_path / "ticks.csv", tmp_path / "made")
    export_command(tmp_path / "made", tmp_path / "ticks.parquet", as_json=True)

    first = _steps_of([tmp_path / "ticks.parquet"], tmp_path / "rec")["pass 1 of 2"]

    assert len(first) > 4
    assert {ROWS} == {total for rows, total, _ in first if rows}
