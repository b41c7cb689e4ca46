"""Rows of more or fewer cells than the header: never read by their places, at any size.

A cell too many moves all behind it, so a price would come in as another column's number.
"""

from pathlib import Path

import pytest

from parity.model.errors import InputRefused
from parity.sources.importers import import_ticks
from parity.sources.importers.plain import PLAIN_BYTES_MIN

START = 1_748_736_000_000_000
TARDIS = "exchange,symbol,timestamp,local_timestamp,id,side,price,amount"
DATABENTO = (
    "ts_recv,ts_event,rtype,publisher_id,instrument_id,action,side,depth,price,size,flags,"
    "ts_in_delta,sequence,symbol"
)
# Name of the file, header, the row at an instant in us, arguments.
FORMATS = {
    "own names": ("a.csv", "ts_event,instrument_token,price,quantity,volume",
                  "{t},7,570.1,0.002,1.5", {}),
    "map": ("a.csv", "when,px,qty,nr", "{t},570.1,0.002,{n}",
            {"map": "ts_event=when,price=px,quantity=qty,trade_id=nr,symbol==X"}),
    "tardis": ("a.csv", TARDIS, "bybit,BTCUSDT,{t},{t},{n},buy,570.1,0.002", {}),
    "databento": ("a.csv", DATABENTO, "{t}000,{t}000,0,2,5482,T,B,0,570.1,3,0,5,{n},ESH5", {}),
    "binance": ("BTCUSDT-trades-2025-06-01.csv",
                "trade_id,price,qty,quote_qty,time,is_buyer_maker",
                "{n},570.1,0.002,1.1402,{t},true", {"format": "binance-um"}),
}  # fmt: skip
SIZES = {"small": 3, "big": 40_000}


def _file(tmp_path: Path, name: str, size: str, wrong: range, by: int) -> tuple[Path, int]:
    """Write a file whose rows of a range are wider or narrower; return it and its right width."""
    called, header, row, _ = FORMATS[name]
    path = tmp_path / called
    lines = [row.format(t=START + n, n=n + 1) for n in range(SIZES[size])]
    for n in wrong:
        cells = lines[n].split(",")
        lines[n] = ",".join([*cells[:2], "104", *cells[2:]] if by > 0 else cells[:by])
    path.write_text("\n".join([header, *lines, ""]), "utf-8")
    assert (size == "big") == (path.stat().st_size >= PLAIN_BYTES_MIN)
    return path, header.count(",") + 1


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("by", [1, -1])
@pytest.mark.parametrize("name", FORMATS)
def test_rows_unlike_their_header_are_refused(
    name: str, by: int, size: str, tmp_path: Path
) -> None:
    """Where all rows are of one width, and it is not the header's: file, row and both counts."""
    path, width = _file(tmp_path, name, size, range(SIZES[size]), by)

    with pytest.raises(InputRefused) as refused:
        import_ticks(path, tmp_path / "rec", **FORMATS[name][3])

    said = f"{path}: row 1: expected {width} cells, as the header has, was {width + by}"
    assert said == refused.value.message
    assert "mend" in refused.value.cure
    assert not (tmp_path / "rec").exists()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("by", [1, -1])
@pytest.mark.parametrize("name", FORMATS)
def test_one_row_of_another_width_is_refused(name: str, by: int, size: str, tmp_path: Path) -> None:
    """Its row is counted as in every refusal: from 1, without the header."""
    at = SIZES[size] - 2
    path, width = _file(tmp_path, name, size, range(at, at + 1), by)

    with pytest.raises(InputRefused) as refused:
        import_ticks(path, tmp_path / "rec", **FORMATS[name][3])

    said = f"{path}: row {at + 1}: expected {width} cells, as the header has, was {width + by}"
    assert said == refused.value.message
    assert not (tmp_path / "rec").exists()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", FORMATS)
def test_rows_like_their_header_come_in(name: str, size: str, tmp_path: Path) -> None:
    """The same files without a wrong row are imported whole."""
    path, _ = _file(tmp_path, name, size, range(0), 1)

    assert SIZES[size] == import_ticks(path, tmp_path / "rec", **FORMATS[name][3]).ticks


def test_without_a_header_the_first_row_says_the_width(tmp_path: Path) -> None:
    """There is nothing else to hold a row to; blank lines are no rows."""
    path = tmp_path / "BTCUSDT-trades-2025-06-01.csv"
    row = "{},570.1,0.002,1.1402,1748736000000,true\n"
    path.write_text(row.format(1) + "\n" + row.format(2) + row.format("3,3"), "utf-8")

    with pytest.raises(InputRefused) as refused:
        import_ticks(path, tmp_path / "rec", format="binance-um")

    assert f"{path}: row 3: expected 6 cells, as row 1 has, was 7" == refused.value.message


@pytest.mark.parametrize("header", [True, False])
def test_a_cell_that_is_no_text_is_named(header: bool, tmp_path: Path) -> None:
    """Bytes that are no UTF-8: row and column in our counting, and the bytes."""
    path = tmp_path / "a.csv"
    good = b"1748736000000000,570.1,0.002,X\n"
    bad = b"1748736000000001,570.1,0.002,X\xff\n"
    path.write_bytes((b"when,px,qty,who\n" if header else b"") + good * 30_000 + bad)
    theirs = {"ts_event": "when", "price": "px", "quantity": "qty", "symbol": "who"}
    columns = theirs if header else {k: f"#{n}" for n, k in enumerate(theirs, start=1)}

    with pytest.raises(InputRefused) as refused:
        import_ticks(path, tmp_path / "rec", map=columns)

    column = "symbol (column who)" if header else "symbol (column #4)"
    said = f"{path}: row 30001: {column}: expected text in UTF-8, was b'X\\xff'"
    assert said == refused.value.message
    assert "UTF-8" in refused.value.cure
