"""Parquet import: exact integers beside their text, taken only where the two agree."""

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from parity.model import ticks as flag
from parity.model.errors import InputRefused
from parity.model.extensions import Extension
from parity.model.instruments import Instrument, InstrumentTable
from parity.model.ticks import COLUMNS
from parity.recording.reader import open_recording
from parity.sources.importers import import_ticks
from parity.sources.synthetic import generate

Change = Callable[[dict[str, list[Any]]], None]


def _trades(ticks: int = 400) -> tuple[Any, dict[str, list[Any]]]:
    """Return synthetic ticks of one instrument, and the same as columns of a trades file."""
    table, records = generate(seed=9, ticks=ticks)
    records = records[records["instrument_token"] == 900001]
    instrument = table.by_token(900001)
    count = len(records)

    def texts(name: str, scale: int) -> list[str]:
        return [f"{Decimal(v).scaleb(-scale):f}" for v in records[name].tolist()]

    return records, {
        "instrument": ["SYNA"] * count,
        "instrument_token": [900001] * count,
        "venue": ["SYNTHETIC"] * count,
        "kind": ["trade"] * count,
        "ts_event": records["ts_event"].tolist(),
        "ts_recv": records["ts_recv"].tolist(),
        "price": texts("price_int", instrument.price_scale),
        "price_i": records["price_int"].tolist(),
        "price_scale": [instrument.price_scale] * count,
        "quantity": texts("quantity_int", instrument.quantity_scale),
        "quantity_i": records["quantity_int"].tolist(),
        "quantity_scale": [instrument.quantity_scale] * count,
        "side": records["side"].tolist(),
        "trade_id": records["trade_id"].tolist(),
        "flags": [None] * count,
    }


def _quotes() -> dict[str, list[Any]]:
    """Return four quotes: two-sided, without an ask, crossed, and without quantities."""
    return {
        "instrument": ["Q"] * 4,
        "instrument_token": [7] * 4,
        "venue": ["FXCM"] * 4,
        "kind": ["quote"] * 4,
        "ts_event": [10, 11, 12, 13],
        "ts_recv": [20, 21, 22, 23],
        "bid": ["1.5", "1.25", "1.75", "1.5"],
        "ask": ["1.75", None, "1.5", "1.5"],
        "bid_i": [150, 125, 175, 150],
        "ask_i": [175, None, 150, 150],
        "price_scale": [2] * 4,
        "bid_qty": ["10", "0.125", "3", None],
        "ask_qty": ["20", None, "4", None],
        "flags": [None] * 4,
    }


def _write(path: Path, columns: dict[str, list[Any]]) -> Path:
    strings = {"instrument", "venue", "kind", "price", "quantity", "bid", "ask"}
    strings |= {"bid_qty", "ask_qty", "flags"}
    small = {"price_scale", "quantity_scale", "side"}
    arrays = {
        n: pa.array(v, pa.string() if n in strings else pa.int8() if n in small else pa.int64())
        for n, v in columns.items()
    }
    pq.write_table(pa.table(arrays), path)
    return path


def _read(folder: Path) -> dict[str, Any]:
    batches = [b.ticks for b in open_recording(folder).batches()]
    return {n: np.concatenate([b.column(n) for b in batches]) for n in COLUMNS}


def test_trades_come_back_tick_for_tick(tmp_path: Path) -> None:
    """Every column of every trade is what the file says."""
    records, columns = _trades()

    report = import_ticks(_write(tmp_path / "t.parquet", columns), tmp_path / "rec")

    found = _read(tmp_path / "rec")
    for name in COLUMNS:
        expected = np.arange(1, len(records) + 1) if name == "seq" else records[name]
        assert (found[name] == expected).all(), name
    assert (report.order, report.ticks, report.warnings) == ("ts_recv", len(records), [])


def test_absent_arrival_times_and_ids_are_flagged(tmp_path: Path) -> None:
    """Nulls become neutral values with their flags, and the order is ts_event."""
    records, columns = _trades()
    columns["ts_recv"] = columns["trade_id"] = [None] * len(records)

    report = import_ticks(_write(tmp_path / "t.parquet", columns), tmp_path / "rec")

    found = _read(tmp_path / "rec")
    absent = flag.NO_TS_RECV | flag.NO_TRADE_ID
    assert report.order == "ts_event"
    assert (found["flags"] & absent == absent).all()
    assert (found["trade_id"] == -1).all()
    assert (found["ts_recv"] == 0).all()


def test_quotes_keep_what_they_have(tmp_path: Path) -> None:
    """One-sided, crossed and sizeless quotes are taken as they are, with flags for the rest."""
    import_ticks(_write(tmp_path / "q.parquet", _quotes()), tmp_path / "rec")

    found = _read(tmp_path / "rec")
    assert open_recording(tmp_path / "rec").table.by_token(7).quantity_scale == 3
    assert found["bid_int"].tolist() == [150, 125, 175, 150]
    assert found["ask_int"].tolist() == [175, 0, 150, 150]
    assert found["bid_quantity_int"].tolist() == [10_000, 125, 3_000, 0]
    assert found["ask_quantity_int"].tolist() == [20_000, 0, 4_000, 0]
    bits = ("no_bid", "no_ask", "no_bid_quantity", "no_ask_quantity", "quote", "no_price")
    shown = [[bool(f & flag.FLAG_NAMES[b]) for b in bits] for f in found["flags"].tolist()]
    assert shown == [
        [False, False, False, False, True, True],
        [False, True, False, True, True, True],
        [False, False, False, False, True, True],
        [False, False, True, True, True, True],
    ]


def test_files_of_one_instrument_share_the_larger_scale(tmp_path: Path) -> None:
    """Two files with different price_scale become one instrument at the larger one."""
    one, other = _quotes(), _quotes()
    other["price_scale"] = [3] * 4
    other["bid_i"] = [None if v is None else v * 10 for v in other["bid_i"]]
    other["ask_i"] = [None if v is None else v * 10 for v in other["ask_i"]]
    paths = [_write(tmp_path / "a.parquet", one), _write(tmp_path / "b.parquet", other)]

    import_ticks(paths, tmp_path / "rec")

    assert open_recording(tmp_path / "rec").table.by_token(7).price_scale == 3
    assert _read(tmp_path / "rec")["bid_int"].tolist() == [
        1500, 1500, 1250, 1250, 1750, 1750, 1500, 1500,
    ]  # fmt: skip


def test_quotes_without_venue_time_are_flagged(tmp_path: Path) -> None:
    """`ts=recv` in the text flags says that ts_event is the arrival time."""
    columns = _quotes()
    columns["flags"] = ["ts=recv"] * 4

    import_ticks(_write(tmp_path / "q.parquet", columns), tmp_path / "rec")

    table = open_recording(tmp_path / "rec").table
    assert (_read(tmp_path / "rec")["flags"] & flag.NO_VENUE_TIME != 0).all()
    assert table.by_token(7).clock == "recv"
    assert table.extensions == ()


def test_other_text_flags_are_kept_as_conditions(tmp_path: Path) -> None:
    """The sale conditions of US trades become a text extension, absent where there are none."""
    _, columns = _trades(ticks=40)
    said = ["@F", None, "T"] * len(columns["flags"])
    columns["flags"] = said[: len(columns["flags"])]

    import_ticks(_write(tmp_path / "t.parquet", columns), tmp_path / "rec")

    recording = open_recording(tmp_path / "rec")
    kept = recording.ticks().select("conditions").collect()["conditions"].to_list()
    assert recording.table.extensions == (Extension("conditions", "text", ("@F", "T")),)
    assert kept == columns["flags"]


def _set(name: str, value: Any) -> Change:
    def change(columns: dict[str, list[Any]]) -> None:
        columns[name][17] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_set("price_i", 1), "row 18: price: the text and price_i (1 at scale 2) differ"),
        (_set("price", None), "row 18: price: the text and price_i"),
        (_set("quantity_i", None), "row 18: quantity: the text and quantity_i"),
        (_set("price", "nan"), "row 18: price: expected a finite decimal number, was 'nan'"),
        (_set("price", "1.005"), "row 18: price: expected at most 2 decimals"),
        (_set("side", 2), "row 18: side: expected 1, -1 or 0, was 2"),
        (_set("ts_event", None), "row 18: ts_event: expected an integer, was None"),
        (_set("ts_recv", 1), "row 18: ts_recv: expected rows in ts_recv order"),
    ],
)
def test_a_wrong_value_is_refused_with_its_row(
    tmp_path: Path, change: Change, message: str
) -> None:
    """File, row, column and value are named, and nothing is left behind."""
    _, columns = _trades()
    change(columns)

    with pytest.raises(InputRefused) as caught:
        import_ticks(_write(tmp_path / "t.parquet", columns), tmp_path / "rec")

    assert f"t.parquet: {message}" in str(caught.value)
    assert [p.name for p in tmp_path.iterdir()] == ["t.parquet"]


def test_a_given_table_must_know_every_token(tmp_path: Path) -> None:
    """With an instrument table, a tick of another instrument is refused with its row."""
    _, columns = _trades()
    table = InstrumentTable([Instrument(token=5, symbol="X", price_scale=2, quantity_scale=3)])

    with pytest.raises(InputRefused, match=r"row 1: instrument_token: .* was 900001"):
        import_ticks(
            _write(tmp_path / "t.parquet", columns), tmp_path / "rec", instrument_table=table
        )


def test_one_token_with_two_names_is_refused(tmp_path: Path) -> None:
    """Files that disagree about a token need an instrument table to decide."""
    one, other = _quotes(), _quotes()
    other["instrument"] = ["R"] * 4
    paths = [_write(tmp_path / "a.parquet", one), _write(tmp_path / "b.parquet", other)]

    with pytest.raises(InputRefused, match=r"b.parquet: row 1: symbol .* expected 'Q'.* was 'R'"):
        import_ticks(paths, tmp_path / "rec")


def test_a_file_names_a_token_once(tmp_path: Path) -> None:
    """Two symbols under one token are refused by the row of the second."""
    columns = _quotes()
    columns["instrument"] = ["Q", "Q", "R", "Q"]
    path = _write(tmp_path / "a.parquet", columns)

    with pytest.raises(InputRefused) as refused:
        import_ticks(path, tmp_path / "rec")

    where = f"{path}: row 3: symbol (column instrument)"
    assert f"{where}: expected 'Q', as token 7 is in row 1, was 'R'" == refused.value.message


@pytest.mark.parametrize("scale", [22, -1])
def test_a_scale_that_no_price_has_is_refused_by_its_row(scale: int, tmp_path: Path) -> None:
    """With file, row and value, before an instrument is made of it."""
    columns = _quotes()
    columns["price_scale"] = [2, 2, scale, 2]
    path = _write(tmp_path / "a.parquet", columns)

    with pytest.raises(InputRefused) as refused:
        import_ticks(path, tmp_path / "rec")

    said = f"{path}: row 3: price_scale: expected a scale of 0..17, was {scale}"
    assert said == refused.value.message
    assert "source" in refused.value.cure


def test_a_file_given_twice_is_refused(tmp_path: Path) -> None:
    """A glob that names a file again would double its ticks."""
    path = _write(tmp_path / "q.parquet", _quotes())

    with pytest.raises(InputRefused, match="given twice"):
        import_ticks([path, str(tmp_path / "*.parquet")], tmp_path / "rec")


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    """A Parquet file of another layout is refused by the column it lacks."""
    _, columns = _trades()
    del columns["price_scale"]

    with pytest.raises(InputRefused, match="column 'price_scale' is missing"):
        import_ticks(_write(tmp_path / "t.parquet", columns), tmp_path / "rec")


def test_bars_are_not_ticks(tmp_path: Path) -> None:
    """A Parquet file of bars is refused with that word."""
    pq.write_table(
        pa.table({n: [1.0] for n in ("open", "high", "low", "close")}), tmp_path / "b.parquet"
    )

    with pytest.raises(InputRefused, match="bars are not ticks"):
        import_ticks(tmp_path / "b.parquet", tmp_path / "rec")
