"""CSV import: written by a writer of our own in many styles, read back to identical ticks."""

import datetime as dt
import gzip
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parity.model import ticks as flag
from parity.model.errors import ConfigError, InputRefused
from parity.model.instruments import Instrument, InstrumentTable
from parity.model.ticks import COLUMNS
from parity.recording.reader import open_recording
from parity.sources.importers import import_ticks
from parity.sources.synthetic import generate

HEADER = ["ts_event", "ts_recv", "instrument_token", "symbol", "price", "quantity", "side"]
HEADER += ["trade_id"]


def _text(value: int, scale: int) -> str:
    return f"{Decimal(value).scaleb(-scale):f}"


def _iso(ns: int) -> str:
    seconds, rest = divmod(ns, 10**9)
    moment = dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(seconds=seconds)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"


def _rows(
    table: InstrumentTable, records: Any, time: Callable[[int], str] = str
) -> list[list[str]]:
    rows = []
    for record in records:
        instrument = table.by_token(int(record["instrument_token"]))
        rows.append(
            [
                time(int(record["ts_event"])),
                time(int(record["ts_recv"])),
                str(instrument.token),
                instrument.symbol,
                _text(int(record["price_int"]), instrument.price_scale),
                _text(int(record["quantity_int"]), instrument.quantity_scale),
                str(record["side"]),
                str(record["trade_id"]),
            ]
        )
    return rows


def _write(path: Path, rows: list[list[str]], header: list[str] | None = HEADER) -> Path:
    lines = ([] if header is None else [",".join(header)]) + [",".join(r) for r in rows]
    data = ("\n".join(lines) + "\n").encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def _read(folder: Path) -> dict[str, Any]:
    batches = [b.ticks for b in open_recording(folder).batches()]
    return {n: np.concatenate([b.column(n) for b in batches]) for n in COLUMNS}


def _assert_same(folder: Path, records: Any, but: tuple[str, ...] = ()) -> None:
    found = _read(folder)
    for name in COLUMNS:
        if name not in but:
            assert (found[name] == records[name]).all(), name


def _one(path: Path, **columns: str) -> Path:
    header = {"ts_event": "1736154000000", "price": "1.5", "quantity": "2"} | columns
    return _write(path, [list(header.values())], list(header))


TOKEN = {"instrument_token": "=7"}


def _import_one(tmp_path: Path, **columns: str) -> dict[str, Any]:
    _one(tmp_path / "one.csv", **columns)
    maps = {k: k for k in ("ts_event", "price", "quantity", *columns)} | TOKEN
    import_ticks(tmp_path / "one.csv", tmp_path / "rec", map=maps)
    return _read(tmp_path / "rec")


@pytest.mark.parametrize("time", [str, _iso], ids=["digits", "iso"])
@pytest.mark.parametrize("suffix", [".csv", ".csv.gz"])
def test_own_names_need_no_map(tmp_path: Path, time: Callable[[int], str], suffix: str) -> None:
    """A file with our column names comes back tick for tick."""
    table, records = generate(seed=1, ticks=2_000)
    path = _write(tmp_path / f"ticks{suffix}", _rows(table, records, time))

    report = import_ticks(path, tmp_path / "rec")

    _assert_same(tmp_path / "rec", records)
    assert (report.order, report.ticks) == ("ts_recv", 2_000)


def test_a_header_is_mapped(tmp_path: Path) -> None:
    """Foreign header names are mapped as the command's text says; sides may be words."""
    table, records = generate(seed=2, ticks=500)
    rows = _rows(table, records)
    for row in rows:
        row[6] = {"1": "Buy", "-1": "SELL"}[row[6]]
    header = ["time", "seen", "token", "name", "px", "qty", "taker", "id"]
    path = _write(tmp_path / "ticks.csv", rows, header)

    maps = "ts_event=time,ts_recv=seen,instrument_token=token,symbol=name,price=px,quantity=qty,"
    import_ticks(path, tmp_path / "rec", map=maps + "side=taker,trade_id=id")

    _assert_same(tmp_path / "rec", records)


def test_a_file_without_header_is_mapped_by_number(tmp_path: Path) -> None:
    """`#n` counts columns from 1; is_buyer_maker true means that the seller was the aggressor."""
    table, records = generate(seed=3, ticks=500)
    rows = _rows(table, records)
    for row in rows:
        row[6] = {"1": "false", "-1": "True"}[row[6]]
    path = _write(tmp_path / "ticks.csv", rows, None)

    maps = "ts_event=#1,ts_recv=#2,instrument_token=#3,price=#5,quantity=#6,buyer_maker=#7,"
    import_ticks(path, tmp_path / "rec", map=maps + "trade_id=#8")

    _assert_same(tmp_path / "rec", records)


def test_scales_come_from_the_whole_file(tmp_path: Path) -> None:
    """An instrument's scale is the largest number of decimals in any of its rows."""
    rows = [["1736154000000", "1", "100", "1"] for _ in range(5)]
    rows += [["1736154000000", "2", "7", "1"], ["1736154000001", "1", "100.1250", "0.50"]]
    _write(tmp_path / "a.csv", rows, ["ts_event", "instrument_token", "price", "quantity"])

    import_ticks(tmp_path / "a.csv", tmp_path / "rec")

    table = open_recording(tmp_path / "rec").table
    assert [(i.price_scale, i.quantity_scale) for i in table] == [(3, 1), (0, 0)]
    assert _read(tmp_path / "rec")["price_int"].tolist() == [100_000] * 5 + [7, 100_125]


def test_an_instrument_table_gives_the_scales_and_names(tmp_path: Path) -> None:
    """A given table decides; symbols are looked up in it."""
    table, records = generate(seed=4, ticks=300)
    path = _write(tmp_path / "ticks.csv", _rows(table, records))
    maps = {n: n for n in HEADER if n != "instrument_token"}

    import_ticks(path, tmp_path / "rec", map=maps, instrument_table=table)

    _assert_same(tmp_path / "rec", records)
    assert open_recording(tmp_path / "rec").table == table


def test_files_merge_by_time_then_file_then_row(tmp_path: Path) -> None:
    """Several files become one order; ties keep the order of files, then of rows."""
    header = ["ts_event", "instrument_token", "price", "quantity", "trade_id"]
    for name, times in {"b": [10, 20, 20, 30], "a": [10, 10, 20, 40]}.items():
        token = str(ord(name))
        rows = [
            [str(1736154000000 + t), token, "1", "1", str(n)] for n, t in enumerate(times, start=1)
        ]
        _write(tmp_path / f"{name}.csv", rows, header)

    import_ticks(tmp_path, tmp_path / "rec")

    found = _read(tmp_path / "rec")
    order = [
        f"{chr(t)}{i}" for t, i in zip(found["instrument_token"], found["trade_id"], strict=True)
    ]
    assert order == ["a1", "a2", "b1", "a3", "b2", "b3", "b4", "a4"]


@pytest.mark.slow
@given(data=st.data())
@settings(max_examples=25)
def test_cutting_a_stream_into_files_changes_nothing(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Law: rows dealt out to files and merged again are the whole, sorted by (time, file, row)."""
    folder = tmp_path_factory.mktemp("cut")
    times = sorted(data.draw(st.lists(st.integers(0, 6), min_size=1, max_size=40)))
    homes = data.draw(st.lists(st.integers(0, 3), min_size=len(times), max_size=len(times)))
    header = ["ts_event", "instrument_token", "price", "quantity", "trade_id"]
    expected = []
    for home in sorted(set(homes)):
        mine = [(t, n) for n, (t, h) in enumerate(zip(times, homes, strict=True)) if h == home]
        rows = [[str(1736154000000 + t), "1", "1", "1", str(n)] for t, n in mine]
        _write(folder / f"{home}.csv", rows, header)
        expected += [(t, home, n) for t, n in mine]

    import_ticks([str(folder / "*.csv")], folder / "rec")

    assert _read(folder / "rec")["trade_id"].tolist() == [n for _, _, n in sorted(expected)]


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("1736154000", 1736154000 * 10**9),
        ("1736154000.25", 1736154000_250_000_000),
        ("1736154000123", 1736154000_123_000_000),
        ("1736154000123.5", 1736154000_123_500_000),
        ("1736154000123456", 1736154000_123_456_000),
        ("1736154000123456789", 1736154000_123_456_789),
        ("2025-01-06T09:00:00Z", 1736154000 * 10**9),
        ("2025-01-06 09:00:00.000000001+00:00", 1736154000_000_000_001),
        ("2025-01-06T14:30:00.5+05:30", 1736154000_500_000_000),
    ],
)
def test_units_of_time_are_told_by_their_digits(tmp_path: Path, text: str, ns: int) -> None:
    """Seconds, ms, µs, ns and ISO times with a zone are taken exactly."""
    assert _import_one(tmp_path, ts_event=text)["ts_event"].tolist() == [ns]


def test_naive_times_need_a_zone(tmp_path: Path) -> None:
    """A time without a zone is refused with its row, and taken in the zone that --tz names."""
    _one(tmp_path / "one.csv", ts_event="2025-01-06 14:30:00", instrument_token="7")

    with pytest.raises(InputRefused, match=r"one\.csv: row 1: ts_event: .*--tz"):
        import_ticks(tmp_path / "one.csv", tmp_path / "rec")
    import_ticks(tmp_path / "one.csv", tmp_path / "rec", tz="Asia/Kolkata")

    assert _read(tmp_path / "rec")["ts_event"].tolist() == [1736154000 * 10**9]


@pytest.mark.parametrize("text", ["2024-11-03 01:30:00", "2024-03-10 02:30:00"])
def test_hours_that_occur_twice_or_never_are_refused(tmp_path: Path, text: str) -> None:
    """A naive time that its zone has twice or not at all is never guessed at."""
    _one(tmp_path / "one.csv", ts_event=text, instrument_token="7")

    with pytest.raises(InputRefused, match="row 1: ts_event: expected one instant"):
        import_ticks(tmp_path / "one.csv", tmp_path / "rec", tz="America/New_York")


@pytest.mark.slow
@given(value=st.integers(1, 10**17 - 1), scale=st.integers(0, 17), zeros=st.integers(0, 3))
@settings(max_examples=30)
def test_decimals_are_exact(
    value: int, scale: int, zeros: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Law: a price of up to 17 digits comes back exactly, whatever a float64 can hold."""
    folder = tmp_path_factory.mktemp("exact")
    text = _text(value, scale)
    text += ("0" if "." in text else ".0") * zeros if zeros < 2 or "." in text else ""

    found = _import_one(folder, price=text)

    own = open_recording(folder / "rec").table.by_token(7).price_scale
    assert Decimal(int(found["price_int"][0])).scaleb(-own) == Decimal(text)


@pytest.mark.parametrize(("text", "value"), [("1e-05", 1), ("2.5E-4", 25), ("1E2", 10_000_000)])
def test_floats_as_python_prints_them_are_exact_decimals(
    tmp_path: Path, text: str, value: int
) -> None:
    """An exponent is a way to write a decimal, not a float."""
    instrument = Instrument(token=7, symbol="X", price_scale=5, quantity_scale=0)
    _one(tmp_path / "one.csv", price=text)

    import_ticks(
        tmp_path / "one.csv", tmp_path / "rec", instrument_table=InstrumentTable([instrument])
    )

    assert _read(tmp_path / "rec")["price_int"].tolist() == [value]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"price": "nan"}, "row 1: price: expected a finite decimal number, was 'nan'"),
        ({"price": "inf"}, "row 1: price: expected a finite decimal number"),
        ({"price": "1.2.3"}, "row 1: price: expected a finite decimal number"),
        ({"price": "0x10"}, "row 1: price: expected a finite decimal number"),
        ({"price": "."}, "row 1: price: expected a finite decimal number"),
        ({"price": "0"}, "row 1: price: expected a price above zero"),
        ({"price": "-1.5"}, "row 1: price: expected a price above zero"),
        ({"price": ""}, "row 1: price: expected a price, or a bid or an ask"),
        ({"price": "1234567890123456789"}, "row 1: price: expected at most 18 digits"),
        ({"quantity": "-1"}, "row 1: quantity: expected zero or more"),
        ({"quantity": ""}, "row 1: quantity: expected a quantity"),
        ({"ts_event": ""}, "row 1: ts_event: expected a time"),
        ({"ts_event": "12345"}, "row 1: ts_event: expected 10, 13, 16 or 19 digits"),
        ({"ts_event": "9999999999999999999"}, "row 1: ts_event: expected 10, 13, 16 or 19"),
        ({"ts_event": "yesterday"}, "row 1: ts_event: expected a time"),
        ({"side": "long"}, "row 1: side: expected BUY, SELL"),
        ({"trade_id": "x" * 65}, "row 1: trade_id: expected an id of at most 64 bytes"),
    ],
)
def test_what_would_be_a_guess_is_refused(
    tmp_path: Path, columns: dict[str, str], message: str
) -> None:
    """A bad value is refused by file, row, column and value, and nothing is left behind."""
    with pytest.raises(InputRefused) as caught:
        _import_one(tmp_path, **columns)

    assert message in str(caught.value)
    assert caught.value.cure
    assert sorted(p.name for p in tmp_path.iterdir()) == ["one.csv"]


@pytest.mark.slow
def test_the_row_of_a_bad_value_is_named_deep_in_a_file(tmp_path: Path) -> None:
    """Rows are counted over blocks, from 1 and without the header."""
    rows = [["1736154000000", "7", "1.5", "1", "x" * 200] for _ in range(60_000)]
    rows[54_320][2] = "oops"
    header = ["ts_event", "instrument_token", "price", "quantity", "comment"]
    _write(tmp_path / "a.csv", rows, header)

    with pytest.raises(InputRefused, match=r"row 54321: price: .* was 'oops'"):
        import_ticks(tmp_path / "a.csv", tmp_path / "rec")


def test_a_value_finer_than_the_scale_is_refused(tmp_path: Path) -> None:
    """Nothing is rounded to a given scale, even where another instrument has more."""
    table = InstrumentTable(
        [
            Instrument(token=7, symbol="X", price_scale=1, quantity_scale=0),
            Instrument(token=8, symbol="Y", price_scale=5, quantity_scale=0),
        ]
    )
    _one(tmp_path / "one.csv", price="1.25", instrument_token="7")

    with pytest.raises(InputRefused, match=r"row 1: price: more decimals than the price_scale 1"):
        import_ticks(tmp_path / "one.csv", tmp_path / "rec", instrument_table=table)


def test_bars_are_not_ticks(tmp_path: Path) -> None:
    """A file of bars is refused with that word."""
    _write(
        tmp_path / "bars.csv", [["1", "1", "1", "1", "1"]], ["date", "Open", "High", "Low", "Close"]
    )

    with pytest.raises(InputRefused, match="bars are not ticks"):
        import_ticks(tmp_path / "bars.csv", tmp_path / "rec")


def test_a_missing_column_is_named_with_the_nearest(tmp_path: Path) -> None:
    """A map to a column that is not there offers the nearest one; an unknown key likewise."""
    _one(tmp_path / "one.csv")

    with pytest.raises(InputRefused, match=r"column 'prise' .* did you mean 'price'"):
        import_ticks(tmp_path / "one.csv", tmp_path / "rec", map="price=prise")
    with pytest.raises(ConfigError, match=r"'qantity' .* did you mean 'quantity'"):
        import_ticks(tmp_path / "one.csv", tmp_path / "rec", map="qantity=quantity")
    with pytest.raises(InputRefused, match="no column for instrument_token"):
        import_ticks(tmp_path / "one.csv", tmp_path / "rec")


def test_a_promised_order_that_does_not_hold_is_refused(tmp_path: Path) -> None:
    """A row before the one above it is named, for the default order and for --order alike."""
    header = ["ts_event", "ts_recv", "instrument_token", "price", "quantity"]
    rows = [
        [str(1736154000000 + e), str(1736154000000 + r), "7", "1", "1"]
        for e, r in [(1, 5), (3, 6), (2, 7)]
    ]
    _write(tmp_path / "a.csv", rows, header)

    with pytest.raises(InputRefused, match=r"a\.csv: row 3: ts_event: expected rows in ts_event"):
        import_ticks(tmp_path / "a.csv", tmp_path / "rec", order="ts_event")
    report = import_ticks(tmp_path / "a.csv", tmp_path / "rec")

    assert report.order == "ts_recv"
    assert any("late" in line for line in report.warnings)
    assert open_recording(tmp_path / "rec").manifest.order == "ts_recv"


def test_rows_with_and_without_venue_time_do_not_mix_by_event_time(tmp_path: Path) -> None:
    """Without a common clock there is no order to give them."""
    header = ["ts_event", "ts_recv", "instrument_token", "price", "quantity"]
    rows = [["1736154000001", "", "7", "1", "1"], ["", "1736154000002", "7", "1", "1"]]
    _write(tmp_path / "a.csv", rows, header)

    with pytest.raises(InputRefused, match=r"row 2: ts_event: .*1 of 2 rows have none"):
        import_ticks(tmp_path / "a.csv", tmp_path / "rec")


def test_a_feed_without_venue_time_lives_by_arrival(tmp_path: Path) -> None:
    """ts_recv stands for ts_event, the flag says so, and the instrument's clock is recv."""
    header = ["ts_recv", "instrument_token", "price", "quantity"]
    _write(tmp_path / "a.csv", [["1736154000001", "7", "1", "1"]], header)

    import_ticks(tmp_path / "a.csv", tmp_path / "rec")

    found = _read(tmp_path / "rec")
    assert found["ts_event"].tolist() == found["ts_recv"].tolist() == [1736154000_001_000_000]
    assert found["flags"][0] & flag.NO_VENUE_TIME
    assert open_recording(tmp_path / "rec").table.by_token(7).clock == "recv"


def test_quotes_have_what_they_have(tmp_path: Path) -> None:
    """One-sided quotes are flagged, not filled in."""
    header = ["ts_event", "instrument_token", "bid", "ask", "bid_quantity", "ask_quantity"]
    rows = [
        ["1736154000001", "7", "1.5", "1.75", "10", "20"],
        ["1736154000002", "7", "1.5", "", "10", ""],
        ["1736154000003", "7", "", "1.75", "", "20"],
    ]
    _write(tmp_path / "q.csv", rows, header)

    import_ticks(tmp_path / "q.csv", tmp_path / "rec")

    found = _read(tmp_path / "rec")
    assert found["bid_int"].tolist() == [150, 150, 0]
    assert found["ask_int"].tolist() == [175, 0, 175]
    assert (found["flags"] & flag.KIND_BITS == flag.QUOTE).all()
    assert (found["flags"] & flag.NO_PRICE != 0).all()
    sides = [(bool(f & flag.NO_BID), bool(f & flag.NO_ASK)) for f in found["flags"].tolist()]
    assert sides == [(False, False), (False, True), (True, False)]


def test_an_existing_recording_is_never_touched(tmp_path: Path) -> None:
    """A target that holds something is refused before anything is read."""
    _one(tmp_path / "one.csv", instrument_token="7")
    (tmp_path / "rec").mkdir()
    (tmp_path / "rec" / "mine").touch()

    with pytest.raises(ConfigError, match="exists already"):
        import_ticks(tmp_path / "one.csv", tmp_path / "rec")


def test_an_interrupt_leaves_nothing(tmp_path: Path) -> None:
    """Stopping in the middle leaves no recording and no trace."""
    table, records = generate(seed=1, ticks=100)
    _write(tmp_path / "a.csv", _rows(table, records))

    def interrupt(_done: int, _total: int | None, _step: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_ticks(tmp_path / "a.csv", tmp_path / "rec", progress=interrupt)
    assert [p.name for p in tmp_path.iterdir()] == ["a.csv"]


def test_progress_ends_at_the_total(tmp_path: Path) -> None:
    """Progress counts the rows written, up to all of them."""
    table, records = generate(seed=1, ticks=100)
    _write(tmp_path / "a.csv", _rows(table, records))
    seen: list[tuple[int, int | None, str]] = []

    import_ticks(tmp_path / "a.csv", tmp_path / "rec", progress=lambda *now: seen.append(now))

    assert seen[-1] == (100, 100, "pass 2 of 2")


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        (
            "a.csv",
            b"ts_event,instrument_token,price,quantity\n1736154000,7,1\n",
            "row 1: expected 4 cells",
        ),
        ("a.csv", b"", "was empty"),
        ("a.csv", b"ts_event,instrument_token,price,quantity\n", "no ticks"),
        ("a.csv", b"\xff\xfe,\x00\n", "a.csv"),
        ("a.csv.gz", b"not gzip", "expected a whole .gz"),
        ("a.parquet", b"PAR1", "expected a Parquet file"),
        ("a.bin", b"1,2", "no column for ts_event"),
    ],
)
def test_broken_files_are_refused_by_name(
    tmp_path: Path, name: str, data: bytes, message: str
) -> None:
    """What is not a file of ticks is refused, and never a traceback."""
    (tmp_path / name).write_bytes(data)

    with pytest.raises(InputRefused, match=message):
        import_ticks(tmp_path / name, tmp_path / "rec")


def test_a_map_leaves_columns_of_our_own_names_alone(tmp_path: Path) -> None:
    """A map names what is called otherwise; a column that bears our name is taken as it is."""
    file = tmp_path / "ticks.csv"
    file.write_text("ts_event,px,quantity,side\n1736150400000,1.25,2,sell\n")

    report = import_ticks(
        [file], tmp_path / "recording", map="price=px,instrument_token==7", format="csv"
    )

    assert report.ticks == 1
    [batch] = open_recording(tmp_path / "recording").batches()
    assert batch.ticks.column("side").tolist() == [-1]
    assert batch.ticks.column("price").tolist() == [1.25]
