"""Tardis CSV: written as their pages describe it, read back to identical ticks."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vendor_files import TARDIS_QUOTES, TARDIS_TRADES, tardis_quotes, tardis_trades, write_rows
from vendor_ticks import TABLE, quotes, read_back, same, trades

from parity.model import ticks as flag
from parity.model.errors import InputRefused
from parity.model.trade_ids import number_of
from parity.recording.reader import open_recording
from parity.sources.importers import import_ticks

MICROSECOND = 1_000


@settings(max_examples=20)
@given(records=trades(unit_ns=MICROSECOND, sides=(1, -1, 0)), packed=st.booleans())
def test_trades_come_back_tick_for_tick(
    records: Any, packed: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Any side, absent ids, equal times for "no venue time": every column is what was written."""
    folder = tmp_path_factory.mktemp("tardis")
    path = tardis_trades(folder / ("t.csv.gz" if packed else "t.csv"), records, TABLE)

    report = import_ticks(path, folder / "rec")

    same(records, folder / "rec", TABLE)
    assert ("tardis", "trades", "ts_recv") == (
        report.files[0]["format"], report.files[0]["layout"], report.order
    )  # fmt: skip


@settings(max_examples=20)
@given(records=quotes(unit_ns=MICROSECOND, empty=True))
def test_quotes_come_back_tick_for_tick(
    records: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Empty cells are absent values, also where the whole book is empty."""
    folder = tmp_path_factory.mktemp("tardis")

    import_ticks(tardis_quotes(folder / "q.csv", records, TABLE), folder / "rec")

    same(records, folder / "rec", TABLE)


def _trade(**changes: object) -> dict[str, object]:
    row = dict(
        zip(
            TARDIS_TRADES,
            ("binance-futures", "BTCUSDT", 1_700_000_000_000_001, 1_700_000_000_000_002,
             "7", "buy", "100.5", "0.25"),
            strict=True,
        )
    )  # fmt: skip
    return row | changes


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"side": "bid"}, ["row 2: side: expected BUY, SELL, UNKNOWN or nothing, was 'bid'"]),
        (
            {"timestamp": 1_700_000_000_000},
            ["row 2: ts_event (column timestamp): expected microseconds"],
        ),
        (
            {"local_timestamp": 1_600_000_000_000_000},
            ["row 2: ts_recv (column local_timestamp): expected rows in"],
        ),
        ({"price": "NaN"}, ["row 2: price: expected a finite decimal number, was 'NaN'"]),
        ({"price": "-1"}, ["row 2: price: expected a price above zero"]),
        ({"amount": ""}, ["row 2: quantity (column amount): expected a quantity"]),
        ({"symbol": ""}, ["row 2: symbol: expected a symbol"]),
    ],
)
def test_wrong_cells_are_refused_by_name(
    changes: dict[str, object], words: list[str], tmp_path: Path
) -> None:
    """File, row, column and value are named, and nothing is left behind."""
    rows = [list(_trade().values()), list(_trade(**changes).values())]
    path = write_rows(tmp_path / "t.csv", TARDIS_TRADES, rows)

    with pytest.raises(InputRefused) as refused:
        import_ticks(path, tmp_path / "rec")

    assert all(word in str(refused.value) for word in [str(path), *words]), str(refused.value)
    assert refused.value.cure
    assert not (tmp_path / "rec").exists()


def test_ids_that_are_no_integers_are_ids_all_the_same(tmp_path: Path) -> None:
    """BitMEX numbers its trades by uuid: a number stands for it, and nothing is warned of."""
    path = write_rows(tmp_path / "t.csv", TARDIS_TRADES, [list(_trade(id="ab-1").values())])

    report = import_ticks(path, tmp_path / "rec")

    assert [number_of("ab-1")] == read_back(tmp_path / "rec")["trade_id"].tolist()
    assert [] == report.warnings


def test_markets_are_told_by_the_exchange(tmp_path: Path) -> None:
    """binance-delivery is inverse with its contract size, binance-futures perpetual."""
    exchanges = [("binance-delivery", "BTCUSD_PERP"), ("binance-futures", "BTCUSDT"), ("okex", "X")]
    rows = [list(_trade(exchange=e, symbol=s).values()) for e, s in exchanges]
    import_ticks(write_rows(tmp_path / "t.csv", TARDIS_TRADES, rows), tmp_path / "rec")

    found = {
        i.symbol: (i.venue, i.kind, i.contract_size) for i in open_recording(tmp_path / "rec").table
    }
    assert {
        "BTCUSD_PERP": ("binance-delivery", "inverse", "100"),
        "BTCUSDT": ("binance-futures", "perp", "1"),
        "X": ("okex", "spot", "1"),
    } == found


@pytest.mark.parametrize(
    ("name", "header", "words"),
    [
        ("x_liquidations_2024-01-01.csv", TARDIS_TRADES, "Tardis liquidations are not ticks"),
        ("d.csv", (*TARDIS_TRADES[:4], "funding_rate", "last_price"), "Tardis derivative_ticker"),
        ("b.csv", (*TARDIS_TRADES[:4], "is_snapshot", "side", "price", "amount"), "incremental"),
    ],
)
def test_data_sets_without_ticks_are_refused_by_name(
    name: str, header: tuple[str, ...], words: str, tmp_path: Path
) -> None:
    """Liquidations have the very columns of trades: only the name tells them apart."""
    path = write_rows(tmp_path / name, header, [["1"] * len(header)])

    with pytest.raises(InputRefused, match=words):
        import_ticks(path, tmp_path / "rec")


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    """--format tardis with a column short names it."""
    header = [n for n in TARDIS_QUOTES if n != "bid_price"]
    path = write_rows(tmp_path / "q.csv", header, [["1"] * len(header)])

    with pytest.raises(InputRefused, match="not tardis"):
        import_ticks(path, tmp_path / "rec", format="tardis")


def test_a_cut_gzip_and_a_header_alone_are_refused(tmp_path: Path) -> None:
    """Neither half a file nor an empty day becomes a recording."""
    rows = [list(_trade(id=str(n), price=str(100 + n)).values()) for n in range(20_000)]
    whole = write_rows(tmp_path / "t.csv.gz", TARDIS_TRADES, rows)
    whole.write_bytes(whole.read_bytes()[:-20_000])
    with pytest.raises(InputRefused, match=r"expected a whole \.gz"):
        import_ticks(whole, tmp_path / "rec")
    with pytest.raises(InputRefused, match="no ticks"):
        import_ticks(write_rows(tmp_path / "h.csv", TARDIS_TRADES, []), tmp_path / "rec")
    assert not (tmp_path / "rec").exists()


def test_no_venue_time_at_all_lives_by_the_arrival_clock(tmp_path: Path) -> None:
    """Equal times in every row: the flag says so and the instrument's clock is recv."""
    row = _trade(timestamp=1_700_000_000_000_002)
    import_ticks(
        write_rows(tmp_path / "t.csv", TARDIS_TRADES, [list(row.values())]), tmp_path / "r"
    )

    assert (np.array(read_back(tmp_path / "r")["flags"]) & flag.NO_VENUE_TIME).all()
    assert ["recv"] == [i.clock for i in open_recording(tmp_path / "r").table]
