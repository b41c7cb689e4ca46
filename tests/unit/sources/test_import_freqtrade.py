"""FreqTrade's stored trades: every form it writes, read back to identical ticks."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vendor_files import FREQTRADE, freqtrade, freqtrade_rows
from vendor_ticks import ONE, read_back, same, trades

from parity.model.errors import InputRefused
from parity.model.instruments import Instrument, InstrumentTable
from parity.recording.reader import open_recording
from parity.sources.importers import import_ticks

MILLISECOND = 1_000_000
PAIR = Instrument(token=ONE, symbol="BTC/USDT:USDT", price_scale=2, quantity_scale=3)
ROW = [1_700_000_000_000, "7", None, "buy", 100.5, 0.25, 25.125]
SUFFIXES = (".feather", ".parquet", ".json", ".json.gz")


@settings(max_examples=25)
@given(
    records=trades(unit_ns=MILLISECOND, tokens=(ONE,), recv=False),
    suffix=st.sampled_from(SUFFIXES),
    chunk=st.integers(1, 5),
)
def test_trades_come_back_tick_for_tick(
    records: Any, suffix: str, chunk: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Floats of up to 15 digits at their shortest decimal, absent ids, several record batches."""
    folder = tmp_path_factory.mktemp("freqtrade")
    path = folder / f"BTC_USDT_USDT-trades{suffix}"
    freqtrade(path, freqtrade_rows(records, PAIR), chunk=chunk)

    report = import_ticks(path, folder / "rec")

    same(records, folder / "rec", InstrumentTable([PAIR]))
    assert ("freqtrade", "ts_event") == (report.files[0]["format"], report.order)


@pytest.mark.parametrize(
    ("name", "symbol", "kind"),
    [
        ("BTC_USDT-trades", "BTC/USDT", "spot"),
        ("BTC_USDT_USDT-trades", "BTC/USDT:USDT", "perp"),
        ("BTC_USD_BTC-trades", "BTC/USD:BTC", "inverse"),
        ("BTC_USDT_USDT-240628-trades", "BTC/USDT:USDT-240628", "future"),
    ],
)
def test_the_pair_stands_in_the_name(name: str, symbol: str, kind: str, tmp_path: Path) -> None:
    """Two parts are spot, the third is what it settles in, a date makes a future."""
    import_ticks(freqtrade(tmp_path / f"{name}.feather", [ROW]), tmp_path / "rec")

    (found,) = open_recording(tmp_path / "rec").table
    assert (symbol, kind) == (found.symbol, found.kind)


def test_a_name_without_a_pair_needs_the_symbol(tmp_path: Path) -> None:
    """The message says how to give it."""
    path = freqtrade(tmp_path / "mine.feather", [ROW])

    with pytest.raises(InputRefused, match=r"no pair.*--map symbol==BTC/USDT"):
        import_ticks(path, tmp_path / "rec")
    import_ticks(path, tmp_path / "rec", map="symbol==BTC/USDT")

    assert ["BTC/USDT"] == [i.symbol for i in open_recording(tmp_path / "rec").table]


@pytest.mark.parametrize("suffix", [".feather", ".json"])
@pytest.mark.parametrize(
    ("at", "value", "words"),
    [
        (3, "long", "row 2: side: expected BUY, SELL or nothing, was 'long'"),
        (4, float("inf"), "row 2: price: expected a finite"),
        (4, float("nan"), "row 2: price: expected a finite"),
        (4, -1.5, "row 2: price: expected a price above zero"),
        (5, None, "row 2: quantity (column amount): expected a quantity"),
        (0, -5, "row 2: ts_event (column timestamp): expected a time"),
        (
            0,
            1_600_000_000_000,
            "row 2: ts_event (column timestamp): expected rows in ts_event order",
        ),
    ],
)
def test_wrong_values_are_refused_by_name(
    suffix: str, at: int, value: Any, words: str, tmp_path: Path
) -> None:
    """File, row, column and value are named, and nothing is left behind."""
    wrong = [*ROW[:at], value, *ROW[at + 1 :]]
    path = freqtrade(tmp_path / f"BTC_USDT-trades{suffix}", [ROW, wrong])
    if suffix == ".json" and isinstance(value, float) and not np.isfinite(value):
        words = "expected a list of trades"  # NaN and Infinity are no JSON

    with pytest.raises(InputRefused) as refused:
        import_ticks(path, tmp_path / "rec")

    assert str(path) in str(refused.value)
    assert words in str(refused.value)
    assert refused.value.cure
    assert not (tmp_path / "rec").exists()


def test_bars_are_refused(tmp_path: Path) -> None:
    """By their columns in Arrow files, by their name in JSON, which has no columns."""
    columns = {n: [1.0] for n in ("date", "open", "high", "low", "close", "volume")}
    pa.feather.write_feather(pa.table(columns), str(tmp_path / "BTC_USDT-5m.feather"))
    (tmp_path / "BTC_USDT_USDT-1h-futures.json").write_text("[[1, 1, 1, 1, 1, 1]]")

    for path in tmp_path.iterdir():
        with pytest.raises(InputRefused, match="bars are not ticks"):
            import_ticks(path, tmp_path / "rec")


@pytest.mark.parametrize("gone", [1, 3, 40])
def test_a_cut_list_is_refused(gone: int, tmp_path: Path) -> None:
    """Cut behind a row, within one, or at its end: the list does not close."""
    path = freqtrade(tmp_path / "BTC_USDT-trades.json", [ROW] * 20)
    path.write_bytes(path.read_bytes()[:-gone])

    with pytest.raises(InputRefused, match="expected a list of trades"):
        import_ticks(path, tmp_path / "rec")


def test_a_list_is_read_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows come out the same wherever the file's pieces end, also of the older dicts."""
    from parity.sources.importers import freqtrade as module

    rows = [[ROW[0] + n, str(n), None, "sell", 100 + n / 8, 0.5, 1.0] for n in range(50)]
    (tmp_path / "BTC_USDT-trades.json").write_text(
        json.dumps([dict(zip(FREQTRADE, row, strict=True)) for row in rows])
    )
    freqtrade(tmp_path / "ETH_USDT-trades.json.gz", rows)
    for size in (64, 97, 1000):
        monkeypatch.setattr(module, "_CHUNK_BYTES", size)
        for name in ("BTC_USDT-trades.json", "ETH_USDT-trades.json.gz"):
            folder = tmp_path / f"{name}{size}"
            import_ticks(tmp_path / name, folder)
            assert list(range(50)) == read_back(folder)["trade_id"].tolist()


def test_empty_files_are_refused(tmp_path: Path) -> None:
    """No row is no recording, and a wrong row says what was expected."""
    for suffix in SUFFIXES:
        path = freqtrade(tmp_path / f"BTC_USDT-trades{suffix}", [])
        with pytest.raises(InputRefused, match="no ticks"):
            import_ticks(path, tmp_path / "rec")
    (tmp_path / "A_B-trades.json").write_text("[[1, 2, 3]]")
    with pytest.raises(InputRefused, match="row 1: row: expected timestamp, id"):
        import_ticks(tmp_path / "A_B-trades.json", tmp_path / "rec")
