"""Databento CSV: written as its schema pages describe it, read back to identical ticks."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vendor_files import DATABENTO_BOOK, DATABENTO_TRADES, databento, write_rows
from vendor_ticks import TABLE, quotes, read_back, same, trades

from parity.model import ticks as flag
from parity.model.errors import InputRefused
from parity.model.instruments import InstrumentTable
from parity.sources.importers import import_ticks

TRADE = {
    "ts_recv": 1_700_000_000_000_000_002, "ts_event": 1_700_000_000_000_000_001, "rtype": 0,
    "publisher_id": 1, "instrument_id": 5482, "action": "T", "side": "A", "depth": 0,
    "price": 4_500_250_000_000, "size": 3, "flags": 0, "ts_in_delta": 1, "sequence": 9,
}  # fmt: skip
BOOK = {
    "bid_px_00": 4_500_000_000_000, "ask_px_00": 4_500_250_000_000, "bid_sz_00": 10,
    "ask_sz_00": 7, "bid_ct_00": 2, "ask_ct_00": 1,
}  # fmt: skip
ROUND_TRIP = settings(max_examples=15)
suffixes = st.sampled_from((".csv", ".csv.gz", ".csv.zst"))


@ROUND_TRIP
@given(records=trades(sides=(1, -1, 0), whole=True), pretty=st.booleans(), suffix=suffixes)
def test_trades_come_back_tick_for_tick(
    records: Any, pretty: bool, suffix: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Integers of 1e-9 and ns, or decimals and ISO 8601, plain or packed."""
    folder = tmp_path_factory.mktemp("databento")
    records["trade_id"] = -1
    records["flags"] |= flag.NO_TRADE_ID
    path = databento(folder / f"t{suffix}", records, TABLE, pretty=pretty)

    report = import_ticks(path, folder / "rec")

    same(records, folder / "rec", TABLE)
    assert ("databento", "trades", "ts_recv") == (
        report.files[0]["format"], report.files[0]["layout"], report.order
    )  # fmt: skip


@ROUND_TRIP
@given(records=quotes(empty=True, whole=True), pretty=st.booleans(), traded=st.booleans())
def test_the_book_comes_back_with_its_trades(
    records: Any, pretty: bool, traded: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Rows of action T are trades beside the book, all others quotes; UNDEF is an absent side."""
    folder = tmp_path_factory.mktemp("databento")
    for side in ("bid", "ask"):  # a size is written even where the price is none
        records["flags"] &= ~np.uint32(flag.FLAG_NAMES[f"no_{side}_quantity"])
    if traded:
        rows = slice(0, None, 2)
        gone = np.uint32(flag.NO_PRICE | flag.NO_QUANTITY | flag.QUOTE)
        records["flags"][rows] = (records["flags"][rows] & ~gone) | flag.TRADE
        records["price_int"][rows], records["quantity_int"][rows] = 4_500_25, 3_000
        records["side"][rows] = -1
        records["instrument_token"][rows] = TABLE.tokens[0]
        wide = records["instrument_token"] == TABLE.tokens[0]
        for side in ("bid_quantity_int", "ask_quantity_int"):
            records[side][wide] = records[side][wide] // 1000 * 1000
    path = databento(folder / "m.csv", records, TABLE, book=True, pretty=pretty)

    report = import_ticks(path, folder / "rec")

    same(records, folder / "rec", TABLE)
    assert "mbp-1" == report.files[0]["layout"]


def _file(path: Path, *rows: dict[str, object], symbol: bool = True) -> Path:
    header = [*rows[0], *(["symbol"] if symbol else [])]
    return write_rows(
        path, header, [[*row.values(), *(["ESH5"] if symbol else [])] for row in rows]
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"side": "X"}, "row 2: side: expected B, A, N or nothing, was 'X'"),
        ({"action": "A"}, "row 2: action: expected T, as every trade has, was 'A'"),
        ({"action": ""}, "row 2: action: expected T, as every trade has, was ''"),
        ({"price": "4500.25"}, "row 2: price: expected integers of 1e-9"),
        ({"price": 2**63 - 1}, "row 2: price: expected a price"),
        ({"ts_recv": 1_700_000_000_000}, "row 2: ts_recv: expected nanoseconds"),
        ({"ts_event": "2023-11-14T22:13:20"}, "row 2: ts_event: expected a time with a zone"),
        ({"ts_recv": 1_600_000_000_000_000_000}, "row 2: ts_recv: expected rows in ts_recv order"),
    ],
)
def test_wrong_cells_are_refused_by_name(
    changes: dict[str, object], words: str, tmp_path: Path
) -> None:
    """File, row, column and value are named, and nothing is left behind."""
    path = _file(tmp_path / "t.csv", TRADE, TRADE | changes)

    with pytest.raises(InputRefused) as refused:
        import_ticks(path, tmp_path / "rec")

    assert f"{path}: {words}" in str(refused.value)
    assert refused.value.cure
    assert not (tmp_path / "rec").exists()


def test_prices_are_held_to_the_form_of_the_first(tmp_path: Path) -> None:
    """A decimal that lost its point would be a price a thousand million times too small."""
    path = _file(tmp_path / "t.csv", TRADE | {"price": "4500.25"}, TRADE | {"price": "4500"})

    with pytest.raises(InputRefused, match=r"row 2: price: expected decimals.*was '4500'"):
        import_ticks(path, tmp_path / "rec")


def test_absent_venue_time_is_absent(tmp_path: Path) -> None:
    """UNDEF_TIMESTAMP is no time."""
    import_ticks(_file(tmp_path / "t.csv", TRADE | {"ts_event": 2**64 - 1}), tmp_path / "rec")

    found = read_back(tmp_path / "rec")
    assert found["flags"][0] & flag.NO_VENUE_TIME
    assert [-1] == found["side"].tolist()


def test_rows_are_known_by_symbol_never_by_instrument_id(tmp_path: Path) -> None:
    """Without a symbol it is refused, unless --map or a table of one instrument says it."""
    path = _file(tmp_path / "t.csv", TRADE, symbol=False)

    with pytest.raises(InputRefused, match="instrument_id is good for one day only"):
        import_ticks(path, tmp_path / "rec")
    import_ticks(path, tmp_path / "mapped", map="symbol==ESH5")
    one = InstrumentTable([TABLE.by_dense(0)])
    import_ticks(path, tmp_path / "given", instrument_table=one)

    assert [TABLE.by_dense(0).token] == read_back(tmp_path / "given")["instrument_token"].tolist()


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({**TRADE, "order_id": 1}, "schema mbo"),
        ({**TRADE, **BOOK, "bid_px_01": 1}, "schema mbp-10"),
        ({k: v for k, v in {**TRADE, **BOOK}.items() if k != "action"}, "schema bbo"),
        ({**{k: TRADE[k] for k in ("ts_event", "rtype", "publisher_id", "instrument_id")},
          "open": 1, "high": 1, "low": 1, "close": 1, "volume": 1}, "these are bars"),
    ],
)  # fmt: skip
def test_other_schemas_are_refused_by_name(
    row: dict[str, object], words: str, tmp_path: Path
) -> None:
    """What holds no trades and no top of the book says what it is."""
    with pytest.raises(InputRefused, match=words):
        import_ticks(_file(tmp_path / "t.csv", row), tmp_path / "rec")


def test_a_missing_column_a_header_alone_and_half_a_file(tmp_path: Path) -> None:
    """What is missing is named; neither half a file nor no row becomes a recording."""
    lacking = [n for n in DATABENTO_TRADES if n != "size"]
    path = write_rows(tmp_path / "l.csv", lacking, [[1] * len(lacking)])
    with pytest.raises(InputRefused, match="column size is missing"):
        import_ticks(path, tmp_path / "rec", format="databento")
    path = write_rows(tmp_path / "h.csv", [*DATABENTO_TRADES, *DATABENTO_BOOK, "symbol"], [])
    with pytest.raises(InputRefused, match="no ticks"):
        import_ticks(path, tmp_path / "rec")
    whole = _file(tmp_path / "t.csv.zst", *[TRADE | {"sequence": n} for n in range(30_000)])
    whole.write_bytes(whole.read_bytes()[:-200])
    with pytest.raises(InputRefused, match="whole"):
        import_ticks(whole, tmp_path / "rec")
    assert not (tmp_path / "rec").exists()
