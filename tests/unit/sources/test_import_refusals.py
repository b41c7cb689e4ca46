"""Every refusal that an import promises names file, row, our column, the file's, value and cure."""

from pathlib import Path

import msgspec
import numpy as np
import pytest
from vendor_files import dbn

from parity.model import ticks as flag
from parity.model.errors import ConfigError, InputRefused
from parity.model.instruments import Instrument, InstrumentTable
from parity.recording.manifest import load_manifest
from parity.sources.importers import import_ticks

HEADER = "when,px,qty,taker,nr\n"
MAP = "ts_event=when,price=px,quantity=qty,side=taker,trade_id=nr,symbol==BTCUSDT"
BARE_MAP = "ts_event=#1,price=#2,quantity=#3,side=#4,trade_id=#5,symbol==BTCUSDT"
GOOD = "2025-06-02T09:15:00Z,100.5,3,buy,1\n"
TABLE = '[{"token": 7, "symbol": "BTCUSDT", "price_scale": 1, "quantity_scale": 0}]'
CASES = {
    "naive time": ("2025-06-02 09:15:01,100.5,3,buy,2", "ts_event", 1, "a time with a zone",
                   "2025-06-02 09:15:01", "--tz ZONE"),
    "scale": ("2025-06-02T09:15:01Z,100.25,3,buy,2", "price", 2, "expected at most 1 decimals",
              "100.25", "--instrument-table"),
    "NaN": ("2025-06-02T09:15:01Z,NaN,3,buy,2", "price", 2, "expected a finite decimal number",
            "NaN", "mend or drop"),
    "infinity": ("2025-06-02T09:15:01Z,100.5,inf,buy,2", "quantity", 3,
                 "expected a finite decimal number", "inf", "mend or drop"),
    "zero price": ("2025-06-02T09:15:01Z,0.0,3,buy,2", "price", 2, "expected a price above zero",
                   "0.0", "only a future"),
    "negative": ("2025-06-02T09:15:01Z,100.5,-3,buy,2", "quantity", 3, "expected zero or more",
                 "-3", "mend or drop"),
    "no quantity": ("2025-06-02T09:15:01Z,100.5,,buy,2", "quantity", 3, "expected a quantity",
                    "", "mend or drop"),
    "many decimals": ("2025-06-02T09:15:01Z,1e-18,3,buy,2", "price", 2,
                      "expected at most 17 decimals", "1e-18", "mend or drop"),
    "side": ("2025-06-02T09:15:01Z,100.5,3,bought,2", "side", 4, "expected BUY, SELL",
             "bought", "--map"),
    "order": ("2025-06-02T09:14:59Z,100.5,3,buy,2", "ts_event", 1,
              "expected rows in ts_event order", "2025-06-02T09:14:59.000000000Z", "--sort id"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("headless", [False, True])
def test_a_wrong_cell_is_named_as_the_file_has_it(
    case: str, headless: bool, tmp_path: Path
) -> None:
    """By the header's name, or by its place where there is no header."""
    row, ours, place, problem, value, cure = CASES[case]
    path = tmp_path / "ticks.csv"
    path.write_text(("" if headless else HEADER) + GOOD + row + "\n", "utf-8")
    (tmp_path / "table.json").write_text(TABLE, "utf-8")
    theirs = f"#{place}" if headless else HEADER.strip().split(",")[place - 1]

    with pytest.raises(InputRefused) as refused:
        import_ticks(path, tmp_path / "rec", map=BARE_MAP if headless else MAP,
                     instrument_table=tmp_path / "table.json")  # fmt: skip

    said = refused.value.message
    assert said.startswith(f"{path}: row 2: {ours} (column {theirs}): ")
    assert problem in said
    assert said.endswith(f"was {value!r}")
    assert cure in refused.value.cure
    assert ["table.json", "ticks.csv"] == sorted(p.name for p in tmp_path.iterdir())


def test_a_constant_of_the_map_is_called_so(tmp_path: Path) -> None:
    """What --map gives for every row stands in no column."""
    path = tmp_path / "ticks.csv"
    path.write_text(HEADER + GOOD, "utf-8")

    with pytest.raises(InputRefused, match=r"row 1: quantity \(given by --map\): .* was 'many'"):
        import_ticks(path, tmp_path / "rec", map=MAP.replace("=qty", "==many"))


def test_files_with_and_without_venue_time_have_no_common_event_time(tmp_path: Path) -> None:
    """The file, its first row without one and the column are named; arrival order is the cure."""
    path = tmp_path / "mixed.csv"
    row = "{},1748856900000000000,100.5,3\n"
    path.write_text(
        "when,got,px,qty\n" + row.format("1748856900000000000") + row.format("") * 2, "utf-8"
    )
    columns = "ts_event=when,ts_recv=got,price=px,quantity=qty,symbol==BTCUSDT"

    with pytest.raises(InputRefused) as refused:
        import_ticks(path, tmp_path / "rec", map=columns, order="ts_event")

    assert f"{path}: row 2: ts_event (column when): expected a venue time" in str(refused.value)
    assert "2 of 3 rows have none" in refused.value.message
    assert "ts_recv" in refused.value.cure


def test_a_missing_arrival_time_is_named_where_it_decides(tmp_path: Path) -> None:
    """`--order ts_recv` over rows without one names the first of them."""
    path = tmp_path / "mixed.csv"
    path.write_text(
        "when,got,px,qty\n1748856900000000000,1748856900000000000,100.5,3\n"
        "1748856900000000001,,100.5,3\n",
        "utf-8",
    )
    columns = "ts_event=when,ts_recv=got,price=px,quantity=qty,symbol==BTCUSDT"

    with pytest.raises(InputRefused) as refused:
        import_ticks(path, tmp_path / "rec", map=columns, order="ts_recv")

    assert f"{path}: row 2: ts_recv (column got): expected a time" in str(refused.value)
    assert "--order ts_event" in refused.value.cure


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("bars.csv", "time,open,high,low,close,volume\n1748856900000,1,2,1,2,5\n"),
        ("BTCUSDT-1m-2025-06-01.csv",
         "1748736000000,1,2,1,2,5,1748736059999,9,3,2,4,0\n1748736060000,1,2,1,2,5,1748736119999,9,3,2,4,0\n"),
    ],
)  # fmt: skip
def test_bars_are_refused_with_that_word(name: str, text: str, tmp_path: Path) -> None:
    """With a header by its columns, without one by the archive's name and shape."""
    (tmp_path / name).write_text(text, "utf-8")

    with pytest.raises(InputRefused, match="bars are not ticks") as refused:
        import_ticks(tmp_path / name, tmp_path / "rec")

    assert "trades" in refused.value.cure


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    """With the columns there are, and the option that names it."""
    path = tmp_path / "ticks.csv"
    path.write_text("when,px\n1748856900000,100.5\n", "utf-8")

    with pytest.raises(InputRefused, match=r"no column for quantity \(columns are when, px\)"):
        import_ticks(path, tmp_path / "rec", map="ts_event=when,price=px,symbol==B")
    with pytest.raises(InputRefused, match=r"column 'qty' \(for quantity\) is missing"):
        import_ticks(path, tmp_path / "rec", map=MAP)
    with pytest.raises(ConfigError, match="is not a tick column"):
        import_ticks(path, tmp_path / "rec", map="prise=px")


def test_what_is_left_out_of_a_file_is_told(tmp_path: Path) -> None:
    """A column that nobody asked for is named, once for all files that have it."""
    for name, at in (("a.csv", "2025-06-02T09:15:00Z"), ("b.csv", "2025-06-02T09:16:00Z")):
        text = f"ts_event,instrument_token,price,quantity,mood,venue_flags\n{at},7,1,2,good,x\n"
        (tmp_path / name).write_text(text, "utf-8")
    sources = [tmp_path / "a.csv", tmp_path / "b.csv"]

    report = import_ticks(sources, tmp_path / "rec")

    (line,) = [line for line in report.warnings if "left out" in line]
    assert line.startswith("columns left out: mood, venue_flags (a.csv, b.csv); ")
    assert line in load_manifest(tmp_path / "rec").warnings
    declared = [{"name": "mood", "kind": "text"}, {"name": "venue_flags", "kind": "text"}]
    table = {"instruments": msgspec.json.decode(TABLE), "extensions": declared}
    (tmp_path / "table.json").write_bytes(msgspec.json.encode(table))
    report = import_ticks(sources, tmp_path / "kept", instrument_table=tmp_path / "table.json")
    assert not any("left out" in line for line in report.warnings)


@pytest.mark.parametrize(
    ("venues", "words", "cure"),
    [
        ([], "not 0 times, was 'BTCUSDT'", "add it to the --instrument-table with the venue "),
        (
            ["x", "y"],
            "not 2 times, was 'BTCUSDT'",
            "in the --instrument-table which one has the venue ",
        ),
    ],
)
def test_a_symbol_that_a_table_lacks_or_has_twice_is_refused_alike(
    venues: list[str], words: str, cure: str, tmp_path: Path
) -> None:
    """Whether the file's name says it, its rows, or the header of a DBN file."""
    table = InstrumentTable(
        [
            Instrument(token=1, symbol="OTHER", price_scale=2),
            *(
                Instrument(token=n, symbol="BTCUSDT", venue=venue, price_scale=2)
                for n, venue in enumerate(venues, start=2)
            ),
        ]
    )
    named = tmp_path / "BTCUSDT-trades-2025-06.csv"
    named.write_text("1,1.5,2,3,1748736000000,True\n")
    rows = tmp_path / "rows.csv"
    rows.write_text(
        "ts_event,venue,symbol,price,quantity\n1748736000000,BINANCE-USDM,BTCUSDT,1,2\n"
    )
    one = InstrumentTable([Instrument(token=1, symbol="BTCUSDT", price_scale=2)])
    ticks = np.zeros(1, one.tick_dtype)
    ticks["instrument_token"], ticks["price_int"], ticks["flags"] = 1, 150, flag.TRADE
    ticks["ts_recv"] = ticks["ts_event"] = 1_748_736_000_000_000_000
    binary = dbn(tmp_path / "t.dbn", ticks, one)

    for path, where, more in (
        (named, "symbol: ", {"format": "binance-um"}),
        (rows, "row 1: symbol: ", {}),
        (binary, r"row 1: symbol \(column instrument_id\): ", {"map": "venue==BINANCE-USDM"}),
    ):
        once = "expected a symbol that stands once in the instrument table, "
        with pytest.raises(InputRefused, match=where + once + words) as refused:
            import_ticks(path, tmp_path / "rec", instrument_table=table, **more)
        assert f"{cure}'BINANCE-USDM'" in str(refused.value.cure)
    rows.write_text("ts_event,symbol,price,quantity\n1748736000000,BTCUSDT,1,2\n")
    with pytest.raises(InputRefused) as refused:
        import_ticks(rows, tmp_path / "rec", instrument_table=table)
    said = "--map venue==VENUE" if venues else "add it to the --instrument-table"
    assert str(refused.value.cure).endswith(said)


@pytest.mark.parametrize(
    ("token", "problem"),
    [("12345678901234567890", "expected at most 18 digits"), ("7.5", "expected an integer")],
)
def test_a_token_is_no_matter_of_scales(token: str, problem: str, tmp_path: Path) -> None:
    """What is an integer has no scale to change: the row is to be mended."""
    path = tmp_path / "a.csv"
    path.write_text(
        f"ts_event,instrument_token,price,quantity\n1748736000000,{token},1.5,2\n", "utf-8"
    )

    with pytest.raises(InputRefused) as refused:
        import_ticks(path, tmp_path / "rec")

    assert f"{path}: row 1: instrument_token: {problem}, was {token!r}" == refused.value.message
    assert "mend or drop that row" == refused.value.cure


@pytest.mark.parametrize(
    ("table", "said", "cure"),
    [
        ('[{"token": "x", "symbol": "B", "price_scale": 1}]', "Expected `int`", "manifest.json"),
        ('[{"token": 7, "symbol": "B", "price_scale": 22}]', "expected 0..17, was 22", "decimals"),
        ("[]", "expected at least one instrument", "manifest.json"),
    ],
)
def test_a_wrong_instrument_table_is_named_with_a_cure(
    table: str, said: str, cure: str, tmp_path: Path
) -> None:
    """The file, what is wrong in it, and what would be right."""
    (tmp_path / "a.csv").write_text(HEADER + GOOD, "utf-8")
    (tmp_path / "table.json").write_text(table, "utf-8")

    with pytest.raises(ConfigError) as refused:
        import_ticks(tmp_path / "a.csv", tmp_path / "rec", instrument_table=tmp_path / "table.json")

    assert refused.value.message.startswith(f"--instrument-table: {tmp_path / 'table.json'}: ")
    assert said in refused.value.message
    assert cure in refused.value.cure
