"""Trade ids that are no integers: kept exactly, shown as they were, and judged for duplicates."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vendor_files import TARDIS_TRADES, freqtrade, write_rows

from parity.analysis import frames
from parity.cli.export import command as export_command
from parity.model import ticks as flag
from parity.model.errors import InputRefused
from parity.model.trade_ids import BYTES_MAX, number_of, pack, unpack
from parity.recording.manifest import load_manifest
from parity.recording.reader import open_recording
from parity.sources.importers import import_ticks, plain

UUID = "6f9619ff-8b86-d011-b42d-00cf4fc964ff"
OTHER = "6f9619ff-8b86-d011-b42d-00cf4fc964fe"
START_US = 1_700_000_000_000_000
texts = st.one_of(
    st.uuids().map(str),
    st.from_regex(r"[A-Z]{3}-[0-9]{1,12}", fullmatch=True),
    st.from_regex(r"[1-9][0-9]{18,30}", fullmatch=True),  # more digits than 64 bits hold
    st.from_regex(r"[a-zA-Z_]{1,64}", fullmatch=True),
    st.sampled_from(["é" * 32, "x", "00:1", "1e5", "-"]),
)
ids = st.one_of(texts, st.integers(0, 10**18 - 1).map(str), st.just(""))


def _tardis(path: Path, named: list[str]) -> Path:
    rows = [
        ["bitmex", "XBTUSD", START_US + n, START_US + n + 9, text, "buy", "100.5", 3]
        for n, text in enumerate(named)
    ]
    return write_rows(path, TARDIS_TRADES, rows)


def _ids_of(folder: Path) -> list[str | None]:
    recording = open_recording(folder)
    shown = frames.ticks(recording.ticks(), recording.table)["trade_id"]
    return [None if v is None else str(v) for v in shown.to_list()]


@settings(max_examples=30)
@given(named=st.lists(ids, min_size=1, max_size=20))
def test_every_id_comes_back_as_it_was(
    named: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Read from a recording, and through an export as Parquet or CSV into another one."""
    folder = tmp_path_factory.mktemp("ids")
    import_ticks(_tardis(folder / "t.csv", named), folder / "rec")

    expected = [text or None for text in named]
    assert expected == _ids_of(folder / "rec")
    digests = [load_manifest(folder / "rec").recording_id]
    for name in ("t.parquet", "out.csv"):
        export_command(folder / "rec", folder / name, as_json=True)
        again = folder / f"again-{name}"
        import_ticks(folder / name, again)
        assert expected == _ids_of(again)
        digests.append(load_manifest(again).recording_id)
    assert digests[0] == digests[1]


@given(st.lists(texts, min_size=1), st.integers(0, 3))
def test_packing_is_exact(named: list[str], more: int) -> None:
    """Bytes in 64-bit integers and back, also where there is room for more."""
    longest = max(len(text.encode()) for text in named)
    columns = -(-longest // 8) + more
    packed = pack([text.encode() for text in named], columns)

    held = {f"trade_id_bytes_{n}": row for n, row in enumerate(packed, start=1)}
    assert named == unpack(held)


@given(texts)
def test_the_number_of_an_id_looks_like_no_id(text: str) -> None:
    """It is below -1 and has at most 18 digits, so that no integer id of a venue meets it."""
    assert -(10**18) < number_of(text) < -1


def test_duplicates_are_found_by_text(tmp_path: Path) -> None:
    """An id that came before is flagged with its row, one that differs in its last letter not."""
    path = _tardis(tmp_path / "t.csv", [UUID, OTHER, UUID, "7", "7"])

    report = import_ticks(path, tmp_path / "rec")

    (batch,) = [b.ticks for b in open_recording(tmp_path / "rec").batches()]
    flagged = (batch.column("flags") & np.uint32(flag.DUPLICATE)) != 0
    assert [False, False, True, False, True] == flagged.tolist()
    assert any("row 3, 5" in line for line in report.warnings)
    assert not any("without a trade id" in line for line in report.warnings)


def test_duplicates_are_found_across_an_append(tmp_path: Path) -> None:
    """The same id has the same number in every file."""
    import_ticks(_tardis(tmp_path / "a.csv", [UUID, OTHER]), tmp_path / "rec")
    late = [["bitmex", "XBTUSD", START_US + 99, START_US + 99, OTHER, "buy", "100.5", 3]]

    report = import_ticks(
        write_rows(tmp_path / "b.csv", TARDIS_TRADES, late), tmp_path / "rec", append=True
    )

    assert any("flagged duplicate: 1" in line for line in report.warnings)


def test_other_programs_keep_theirs(tmp_path: Path) -> None:
    """FreqTrade's lists, and the Parquet of exact integers with ids as text."""
    row: list[Any] = [1_700_000_000_000, UUID, None, "buy", 100.5, 2.0, 201.0]
    import_ticks(freqtrade(tmp_path / "BTC_USDT-trades.json", [row]), tmp_path / "freqtrade")
    columns = {
        "instrument": ["B"], "instrument_token": [7], "venue": ["X"], "ts_event": [10**18],
        "price_scale": [1], "price": ["1.5"], "price_i": [15], "quantity": ["2"],
        "quantity_i": [2], "quantity_scale": [0], "side": [1], "trade_id": [UUID],
    }  # fmt: skip
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    import_ticks(tmp_path / "t.parquet", tmp_path / "parquet")

    assert [UUID] == _ids_of(tmp_path / "freqtrade") == _ids_of(tmp_path / "parquet")


def test_what_cannot_be_kept_or_sorted_is_refused_by_row(tmp_path: Path) -> None:
    """An id longer than the columns hold; and ids without an order where they should give one."""
    path = _tardis(tmp_path / "t.csv", ["7", "x" * (BYTES_MAX + 1)])
    with pytest.raises(InputRefused, match=rf"row 2: trade_id \(column id\): .*{BYTES_MAX} bytes"):
        import_ticks(path, tmp_path / "rec")
    path = _tardis(tmp_path / "t.csv", ["7", UUID])

    with pytest.raises(InputRefused, match=rf"row 2: trade_id \(column id\): .* was '{UUID}'"):
        import_ticks(path, tmp_path / "rec", sort="id")

    assert not (tmp_path / "rec").exists()


@pytest.mark.parametrize("at", [0, 5, 3_999])
def test_one_id_of_text_in_a_big_file_is_kept(
    at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pass over plain numbers leaves the file to the reader of texts, wherever it stands."""
    named = [str(n) for n in range(4_000)]
    named[at] = UUID
    path = _tardis(tmp_path / "t.csv", named)
    for name, least in (("plain", 0), ("texts", 1 << 40)):
        monkeypatch.setattr(plain, "PLAIN_BYTES_MIN", least)
        import_ticks(path, tmp_path / name)

    assert named == _ids_of(tmp_path / "plain")
    digests = [load_manifest(tmp_path / name).recording_id for name in ("plain", "texts")]
    assert digests[0] == digests[1]
