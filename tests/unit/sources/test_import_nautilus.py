"""NautilusTrader catalogs: both schemas of its writer, read back to identical ticks."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vendor_files import nautilus
from vendor_ticks import ONE, START_NS, TABLE, quotes, read_back, same, trades

from parity.model import ticks as flag
from parity.model.errors import InputRefused
from parity.recording.reader import open_recording
from parity.sources.importers import import_ticks
from parity.testing.generators import dummy_records

INSTRUMENT = TABLE.by_token(ONE)
ROUND_TRIP = settings(max_examples=15)
# Eight bytes hold values up to 9.2e9.
LARGEST = {8: 9 * 10**11, 16: 10**15, None: 10**15}
widths = st.sampled_from((8, 16, None))


def _fit(records: Any, width: int | None) -> Any:
    for name in ("price_int", "quantity_int", "bid_int", "ask_int", "bid_quantity_int",
                 "ask_quantity_int"):  # fmt: skip
        records[name] = np.minimum(records[name], LARGEST[width])
    return records


@ROUND_TRIP
@given(
    records=trades(sides=(1, -1, 0), tokens=(ONE,), no_ids=False),
    width=widths,
    named=st.booleans(),
)
def test_trades_come_back_tick_for_tick(
    records: Any, width: int | None, named: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Fixed point of 8 and 16 bytes, and decimals; named inside the file or by its folder."""
    folder = tmp_path_factory.mktemp("nautilus") / f"{INSTRUMENT.symbol}.{INSTRUMENT.venue}"
    folder.mkdir()
    path = nautilus(
        folder / "t.parquet", _fit(records, width), INSTRUMENT, width=width, named=named
    )

    report = import_ticks(path, folder / "rec")

    same(records, folder / "rec", TABLE)
    (held,) = open_recording(folder / "rec").table
    assert (INSTRUMENT.venue, 2, 3) == (held.venue, held.price_scale, held.quantity_scale)
    assert ("nautilus", "trades", "ts_recv") == (
        report.files[0]["format"], report.files[0]["layout"], report.order
    )  # fmt: skip


@ROUND_TRIP
@given(records=quotes(tokens=(ONE,), one_sided=False), width=widths)
def test_quotes_come_back_tick_for_tick(
    records: Any, width: int | None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """QuoteTick in both schemas."""
    folder = tmp_path_factory.mktemp("nautilus")
    path = nautilus(folder / "q.parquet", _fit(records, width), INSTRUMENT, width=width)

    import_ticks(path, folder / "rec")

    same(records, folder / "rec", TABLE)


def trades_of(count: int) -> Any:
    """Return plain trades, a nanosecond apart."""
    records = dummy_records(count, instrument_token=ONE, trade_id=range(count))
    records["ts_event"] = records["ts_recv"] = START_NS + np.arange(count)
    return records


def _changed(path: Path, name: str, values: Any, metadata: dict[str, str] | None = None) -> Path:
    table = pq.read_table(path)
    if name:
        table = table.set_column(table.schema.get_field_index(name), name, values)
    if metadata is not None:
        table = table.replace_schema_metadata(metadata)
    pq.write_table(table, path)
    return path


def test_the_noise_of_floats_is_taken_at_the_declared_precision(tmp_path: Path) -> None:
    """100.10 made through a float may be 100.0999999999999872; its file says two decimals."""
    path = nautilus(tmp_path / "t.parquet", trades_of(2), INSTRUMENT, width=16)
    raw = [1001 * 10**15 - 128, 61834 * 10**16 + 37 * 10**14 + 40_000]
    values = pa.array([v.to_bytes(16, "little") for v in raw], pa.binary(16))

    report = import_ticks(_changed(path, "price", values), tmp_path / "rec")

    assert [10010, 6183437] == read_back(tmp_path / "rec")["price_int"].tolist()
    assert ["price: digits of a float behind the precision were left out: 2 rows"] == [
        line for line in report.warnings if "float" in line
    ]


def test_more_decimals_than_the_precision_are_refused(tmp_path: Path) -> None:
    """What no float leaves behind would have to be rounded."""
    path = nautilus(tmp_path / "t.parquet", trades_of(2), INSTRUMENT, width=None)
    values = pa.array([Decimal("100.10"), Decimal("100.1234")], pa.decimal128(38, 16))

    with pytest.raises(InputRefused, match=r"row 2: price: more decimals than the precision 2"):
        import_ticks(_changed(path, "price", values), tmp_path / "rec")


def test_undefined_values_are_absent_in_quotes_and_refused_in_trades(tmp_path: Path) -> None:
    """The largest integers say "undefined"."""
    records = trades_of(2)
    path = nautilus(tmp_path / "t.parquet", records, INSTRUMENT, width=8)
    values = pa.array([(2**63 - 1).to_bytes(8, "little")] * 2, pa.binary(8))
    with pytest.raises(InputRefused, match="row 1: price: expected a price"):
        import_ticks(_changed(path, "price", values), tmp_path / "rec")

    records["flags"] = flag.QUOTE | flag.NO_PRICE | flag.NO_QUANTITY
    records["bid_int"] = records["ask_int"] = 100
    path = nautilus(tmp_path / "q.parquet", records, INSTRUMENT, width=8)
    import_ticks(_changed(path, "bid_price", values), tmp_path / "rec")

    found = read_back(tmp_path / "rec")
    assert ((found["flags"] & flag.NO_BID) != 0).all()
    assert [0, 0] == found["bid_int"].tolist()


@pytest.mark.parametrize(
    ("name", "values", "words"),
    [
        (
            "aggressor_side",
            pa.array([1, 3], pa.uint8()),
            "row 2: side (column aggressor_side): expected",
        ),
        ("price", pa.array([1.5, 2.5]), "price: expected Decimal128, or FixedSizeBinary"),
        ("price", pa.array([b"1234", b"1234"], pa.binary(4)), "price: expected Decimal128"),
        (
            "ts_init",
            pa.array([0, 2**64 - 1], pa.uint64()),
            "row 2: ts_recv (column ts_init): expected a time",
        ),
        ("ts_event", pa.array([1, 2], pa.timestamp("ns")), "expected a time with a zone"),
        ("ts_event", pa.array([0.5, 1.5]), "ts_event: expected integers"),
        (
            "size",
            pa.array([None, None], pa.binary(8)),
            "row 1: quantity (column size): expected a quantity",
        ),
    ],
)
def test_wrong_columns_are_refused_by_name(
    name: str, values: Any, words: str, tmp_path: Path
) -> None:
    """File, row, column and value are named, and nothing is left behind."""
    path = nautilus(tmp_path / "t.parquet", trades_of(2), INSTRUMENT, width=8)

    with pytest.raises(InputRefused) as refused:
        import_ticks(_changed(path, name, values), tmp_path / "rec")

    assert str(path) in str(refused.value)
    assert words in str(refused.value)
    assert refused.value.cure
    assert not (tmp_path / "rec").exists()


def test_the_instrument_must_be_named_somewhere(tmp_path: Path) -> None:
    """Neither metadata, column nor folder: a table of one instrument says it, else refused."""
    path = nautilus(tmp_path / "t.parquet", trades_of(2), INSTRUMENT, width=8, named=False)
    with pytest.raises(InputRefused, match="names the instrument"):
        import_ticks(path, tmp_path / "rec")
    path = _changed(path, "", None, {"price_precision": "x", "instrument_id": "A.B"})
    with pytest.raises(InputRefused, match="metadata price_precision: expected 0 to 16, was 'x'"):
        import_ticks(path, tmp_path / "rec")


@pytest.mark.parametrize(
    "columns", [("open", "high", "low", "close", "volume"), ("action", "order_id")]
)
def test_bars_and_deltas_are_refused(columns: tuple[str, ...], tmp_path: Path) -> None:
    """Other types of a catalog are not ticks."""
    names = (*columns, "ts_event", "ts_init")
    pq.write_table(pa.table({n: [1] for n in names}), tmp_path / "b.parquet")

    with pytest.raises(
        InputRefused, match=r"bars, and bars are not|not a NautilusTrader TradeTick"
    ):
        import_ticks(tmp_path / "b.parquet", tmp_path / "rec", format="nautilus")


def test_no_rows_and_half_a_file(tmp_path: Path) -> None:
    """Neither becomes a recording."""
    path = nautilus(tmp_path / "t.parquet", trades_of(0), INSTRUMENT, width=8)
    with pytest.raises(InputRefused, match="no ticks"):
        import_ticks(path, tmp_path / "rec")
    path = nautilus(tmp_path / "t.parquet", trades_of(100), INSTRUMENT, width=None)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputRefused, match="not a whole one"):
        import_ticks(path, tmp_path / "rec")
