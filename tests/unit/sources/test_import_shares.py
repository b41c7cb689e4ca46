"""Files that interleave share the memory of one block; what a block holds changes no tick."""

import importlib
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from vendor_files import dbn, freqtrade, freqtrade_rows, nautilus
from vendor_ticks import ONE, TABLE

from parity.cli.export import command as export_command
from parity.model import ticks as flag
from parity.recording.reader import open_recording
from parity.sources.importers import csv, import_ticks, merge, plain
from parity.sources.importers.shares import Shares

START = 1_748_736_000_000_000
FILES, ROWS, BLOCK = 8, 400, 256
HEADER = "ts_event,instrument_token,price,quantity,trade_id\n"


def _files(folder: Path, price: str, *, interleave: bool) -> Path:
    folder.mkdir()
    for file in range(FILES):
        at = (lambda n, f=file: n * FILES + f) if interleave else (lambda n, f=file: f * ROWS + n)
        lines = [f"{START + at(n)},{file + 1},{price},2,{n + 1}\n" for n in range(ROWS)]
        (folder / f"{file}.csv").write_text(HEADER + "".join(lines), "utf-8")
    return folder


def _small(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(plain, "PLAIN_BYTES_MIN", 0)
    patch.setattr(plain, "BLOCK_ROWS", BLOCK)
    patch.setattr(plain, "BLOCK_ROWS_MIN", 1)
    patch.setattr(plain, "BLOCK_BYTES", BLOCK * 32)
    patch.setattr(plain, "BLOCK_BYTES_MIN", 64)
    patch.setattr(csv, "_BLOCK_BYTES", BLOCK * 32)
    patch.setattr(csv, "_BLOCK_BYTES_MIN", 64)
    patch.setattr(merge, "ROWS_MIN", 16)


def _imported(folder: Path, to: Path, patch: pytest.MonkeyPatch) -> tuple[Any, list[int], int]:
    """Return the ticks, the rows in memory at each round, and the longest batch."""
    held: list[int] = []
    longest = 0
    advance = merge.OrderedFile.advance

    def spy(self: merge.OrderedFile) -> bool:
        nonlocal longest
        more = advance(self)
        longest = max(longest, 0 if self.head is None else len(self.head))
        return more

    def round_(live: list[merge.OrderedFile], shares: Shares) -> Any:
        held.append(sum(len(file.head) for file in live if file.head is not None))
        return one_round(live, shares)

    one_round = merge._round
    patch.setattr(merge.OrderedFile, "advance", spy)
    patch.setattr(merge, "_round", round_)
    import_ticks(folder, to)
    with open_recording(to) as recording:
        ticks = np.concatenate([b.ticks.to_records() for b in recording.batches()]).tolist()
    return ticks, held, longest


@pytest.mark.parametrize("price", ["1.5", '"1.5"'], ids=["plain", "texts"])
def test_interleaving_files_hold_a_block_together(price: str, tmp_path: Path) -> None:
    """By the fast pass and as texts; the ticks are those of whole blocks."""
    folder = _files(tmp_path / "in", price, interleave=True)
    with pytest.MonkeyPatch.context() as patch:
        whole, _, _ = _imported(folder, tmp_path / "whole", patch)
    with pytest.MonkeyPatch.context() as patch:
        _small(patch)
        ticks, held, _ = _imported(folder, tmp_path / "small", patch)

    assert whole == ticks
    assert FILES * ROWS == len(ticks)
    assert len(held) > FILES
    assert max(held) <= BLOCK


@pytest.mark.parametrize("price", ["1.5", '"1.5"'], ids=["plain", "texts"])
def test_files_that_follow_each_other_keep_whole_blocks(price: str, tmp_path: Path) -> None:
    """Only the one whose rows come is read in blocks; the others wait with a share of one."""
    folder = _files(tmp_path / "in", price, interleave=False)
    with pytest.MonkeyPatch.context() as patch:
        whole, _, _ = _imported(folder, tmp_path / "whole", patch)
    with pytest.MonkeyPatch.context() as patch:
        _small(patch)
        ticks, held, longest = _imported(folder, tmp_path / "small", patch)

    assert whole == ticks
    assert FILES * ROWS == len(ticks)
    assert BLOCK <= longest
    assert max(held) < 2 * BLOCK


def _trades(file: int) -> Any:
    records = np.zeros(ROWS, TABLE.tick_dtype)
    records["instrument_token"] = ONE
    at = START * 1000 + (np.arange(ROWS) * FILES + file) * 10**6
    records["ts_event"] = records["ts_recv"] = at
    records["price_int"], records["quantity_int"], records["side"] = 1_50 + file, 2_000, 1
    records["trade_id"] = np.arange(ROWS)
    records["flags"] = flag.TRADE
    return records


def _parquet(path: Path, records: Any) -> Path:
    numbers = {"price_i": records["price_int"].tolist(), "quantity_i": [2] * ROWS}
    columns = {
        "instrument": ["A"] * ROWS, "venue": ["X"] * ROWS, "instrument_token": [ONE] * ROWS,
        "price": [f"{Decimal(n).scaleb(-2)}" for n in numbers["price_i"]],
        "quantity": ["2"] * ROWS, "price_scale": [2] * ROWS, "quantity_scale": [0] * ROWS,
        "side": [1] * ROWS, "ts_event": records["ts_event"].tolist(),
    }  # fmt: skip
    pq.write_table(pa.table({**columns, **numbers}), path)
    return path


def _exported(path: Path, records: Any) -> Path:
    made = nautilus(path.with_suffix(".made.parquet"), records, TABLE.by_token(ONE), width=8)
    import_ticks(made, path.with_suffix(".rec"))
    made.unlink()
    export_command(path.with_suffix(".rec"), path, as_json=True)
    return path


WRITERS = {
    "dbn": lambda path, records: dbn(path.with_suffix(".dbn"), records, TABLE),
    "exported": _exported,
    "freqtrade": lambda path, records: freqtrade(
        path.with_name(f"A{path.stem}_USDT-trades.feather"),
        freqtrade_rows(records, TABLE.by_token(ONE)),
    ),
    "nautilus": lambda path, records: nautilus(path, records, TABLE.by_token(ONE), width=8),
    "parquet": _parquet,
}


@pytest.mark.parametrize("format", WRITERS)
def test_other_formats_share_a_block_too(format: str, tmp_path: Path) -> None:
    """Their rows are converted a share at a time, to the same ticks."""
    folder = tmp_path / "in"
    folder.mkdir()
    for file in range(FILES):
        WRITERS[format](folder / f"{file}.parquet", _trades(file))
    with pytest.MonkeyPatch.context() as patch:
        whole, _, _ = _imported(folder, tmp_path / "whole", patch)
    with pytest.MonkeyPatch.context() as patch:
        module = importlib.import_module(f"parity.sources.importers.{format}")
        patch.setattr(module, "BATCH_ROWS", BLOCK)
        patch.setattr(module, "BATCH_ROWS_MIN", 1)
        patch.setattr(merge, "ROWS_MIN", 16)
        ticks, held, _ = _imported(folder, tmp_path / "small", patch)

    assert whole == ticks
    assert FILES * ROWS == len(ticks)
    assert len(held) > FILES
    assert max(held) <= BLOCK


@pytest.mark.parametrize(("files", "share"), [(1, 1000), (2, 125), (50, 10), (10_000, 10)])
def test_a_share_is_of_one_block(files: int, share: int) -> None:
    """Merged rows count four times, and there is a least share."""
    shares = Shares()
    shares.files = files

    assert share == shares.of(1000, 10)
