"""Extension columns of CSV files, declared by the instrument table: exact, or refused by name."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from parity.model.errors import ConfigError, InputRefused
from parity.recording.reader import open_recording
from parity.sources.importers.imports import import_ticks

if TYPE_CHECKING:
    from pathlib import Path

    from parity.sources.importers.imports import ImportReport

DECLARED: dict[str, Any] = {
    "instruments": [
        {"token": 101, "symbol": "ONE", "price_scale": 2, "quantity_scale": 0, "kind": "future"},
        {"token": 202, "symbol": "TWO", "price_scale": 4, "quantity_scale": 0, "kind": "future"},
    ],
    "extensions": [
        *({"name": name, "kind": "price"} for name in ("open", "high", "low", "close")),
        {"name": "bid_quantity_2", "kind": "quantity"},
        {"name": "bid_orders_2", "kind": "integer"},
        {"name": "session", "kind": "text", "words": ["open", "auction"]},
    ],
}
HEADER = (
    "ts_event,instrument_token,price,quantity,open,high,low,close,bid_quantity_2,bid_orders_2,phase"
)
MAP = "session=phase"


def imported(folder: Path, rows: str, *, header: str = HEADER, map: str = MAP) -> ImportReport:
    """Import a CSV file under the declared table."""
    (folder / "ticks.csv").write_text(f"{header}\n{rows}")
    (folder / "table.json").write_text(json.dumps(DECLARED))
    return import_ticks(
        folder / "ticks.csv", folder / "REC", map=map, instrument_table=folder / "table.json"
    )


def test_declared_columns_come_in_exactly(tmp_path: Path) -> None:
    """By their own names and by --map; all absent, half absent, and a negative spread's prices."""
    imported(
        tmp_path,
        "1700000000000000000,101,-0.5,1,-1.05,0.25,-2,0,9007199254740993,-3,auction\n"
        "1700000000000000001,202,1.0001,1,,,,1.0001,,,closed\n"
        "1700000000000000002,101,1,1,,,,,,,\n",
    )

    recording = open_recording(tmp_path / "REC")
    wanted = "open, high, low, close, bid_quantity_2, bid_orders_2, session"
    assert recording.sql(f"SELECT {wanted} FROM ticks ORDER BY seq").fetchall() == [
        (*map(Decimal, ("-1.05", "0.25", "-2", "0", "9007199254740993")), -3, "auction"),
        (None, None, None, Decimal("1.0001"), None, None, "closed"),
        (None, None, None, None, None, None, None),
    ]
    (batch,) = list(recording.batches())
    assert batch.ticks.column("close_int").tolist() == [0, 10001, 0]
    assert batch.ticks.column("has_close").tolist() == [True, True, False]
    declared = {e.name: e for e in recording.table.extensions}
    assert declared["session"].words == ("open", "auction", "closed")


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("1700000000000000000,101,1,1,1.001,,,,,,\n", "ticks.csv: row 1: open: more decimals"),
        ("1700000000000000000,101,1,1,1.00001,,,,,,\n", "ticks.csv: row 1: open: "),
        ("1700000000000000000,101,1,1,nan,,,,,,\n", "ticks.csv: row 1: open: "),
        ("1700000000000000000,101,1,1,,,,,,1.5,\n", "ticks.csv: row 1: bid_orders_2: "),
        ("1700000000000000000,101,1,1,,,,,,99999999999999999999,\n", "row 1: bid_orders_2: "),
    ],
)
def test_a_value_that_does_not_fit_is_refused(tmp_path: Path, row: str, problem: str) -> None:
    """File, row and column are named, and nothing is left."""
    with pytest.raises(InputRefused, match=problem):
        imported(tmp_path, row)

    assert not (tmp_path / "REC").exists()


def test_a_map_to_a_column_that_nobody_declared_is_refused(tmp_path: Path) -> None:
    """The nearest declared name is offered."""
    with pytest.raises(
        ConfigError, match="'sessions' is not a tick column; did you mean 'session'"
    ):
        imported(tmp_path, "1700000000000000000,101,1,1,,,,,,,\n", map="sessions=phase")


def test_bars_are_refused_unless_they_are_declared(tmp_path: Path) -> None:
    """Declared open, high, low and close stand beside a price; alone they stay bars."""
    (tmp_path / "bars.csv").write_text(
        "ts_event,open,high,low,close\n1700000000000000000,1,1,1,1\n"
    )

    with pytest.raises(InputRefused, match="bars are not ticks"):
        import_ticks(tmp_path / "bars.csv", tmp_path / "REC", format="csv")


def test_more_words_than_a_text_column_can_keep_are_refused(tmp_path: Path) -> None:
    """The column is named, with how many words it has at least."""
    rows = "".join(f"{1_700_000_000_000_000_000 + n},101,1,1,w{n}\n" for n in range(65_535))

    with pytest.raises(ConfigError, match="'session': has 65537 different words, at most 65536"):
        imported(tmp_path, rows, header="ts_event,instrument_token,price,quantity,phase")

    assert not (tmp_path / "REC").exists()
