"""Binance archives: every layout written from synthetic ticks and read back to the same ticks."""

import gzip
import zipfile
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from parity.model import ticks as flag
from parity.model.errors import InputRefused
from parity.model.instruments import Instrument, InstrumentTable
from parity.recording.reader import open_recording
from parity.sources.importers import import_ticks
from parity.sources.importers.tokens import made_token

SYMBOLS = {"binance-spot": "BTCUSDT", "binance-um": "ETHUSDT", "binance-cm": "BTCUSD_PERP"}
VENUES = {
    "binance-spot": "BINANCE-SPOT",
    "binance-um": "BINANCE-USDM",
    "binance-cm": "BINANCE-COINM",
}
KINDS = {"binance-spot": "spot", "binance-um": "perp", "binance-cm": "inverse"}
PRICE_SCALE, QUANTITY_SCALE = 2, 3
HEADERS = {
    ("binance-spot", "trades"): "id,price,qty,quoteQty,time,isBuyerMaker,isBestMatch",
    ("binance-um", "trades"): "id,price,qty,quote_qty,time,is_buyer_maker",
    ("binance-cm", "trades"): "id,price,qty,base_qty,time,is_buyer_maker",
    ("binance-spot", "aggTrades"): "agg_trade_id,price,quantity,first_trade_id,last_trade_id,"
    "transact_time,is_buyer_maker,is_best_match",
    ("binance-um", "aggTrades"): "agg_trade_id,price,quantity,first_trade_id,last_trade_id,"
    "transact_time,is_buyer_maker",
    ("binance-um", "bookTicker"): "update_id,best_bid_price,best_bid_qty,best_ask_price,"
    "best_ask_qty,transaction_time,event_time",
}
HEADERS["binance-cm", "aggTrades"] = HEADERS["binance-um", "aggTrades"]
HEADERS["binance-cm", "bookTicker"] = HEADERS["binance-um", "bookTicker"]

Ticks = list[dict[str, int]]


def _ticks(count: int, unit: int) -> Ticks:
    """Make ticks with integer values; their last digits differ from zero, so scales are certain."""
    random = np.random.default_rng(count)
    times = 1_748_736_000_000_000_000 + np.cumsum(random.integers(0, 50, count)) * unit
    return [
        {
            "ts_event": int(ts),
            "price_int": int(10_459_191 + random.integers(-500, 500) * 2),
            "quantity_int": int(random.integers(0, 4000) * 2 + 1),
            "trade_id": 5_000_000_000 + n,
            "side": int(random.choice([1, -1])),
        }
        for n, ts in enumerate(times)
    ]


def _decimal(value: int, scale: int, padded: int = 0) -> str:
    text = f"{Decimal(value).scaleb(-scale):f}"
    return text + "0" * (padded - scale if padded > scale else 0)


def _row(layout: str, spot: bool, tick: dict[str, int], unit: int) -> str:
    price = _decimal(tick["price_int"], PRICE_SCALE, 8 * spot)
    quantity = _decimal(tick["quantity_int"], QUANTITY_SCALE, 8 * spot)
    time, n = tick["ts_event"] // unit, tick["trade_id"]
    maker = "true" if tick["side"] < 0 else "false"
    if spot:
        maker = maker.capitalize()
    if layout == "bookTicker":
        ask = _decimal(tick["price_int"] + 1, PRICE_SCALE)
        return f"{n},{price},{quantity},{ask},7.5,{time},{time + 3}"
    middle = "9.5" if layout == "trades" else f"{n * 2},{n * 2 + 1}"
    return f"{n},{price},{quantity},{middle},{time},{maker}" + (",True" if spot else "")


def _write(path: Path, lines: list[str]) -> Path:
    data = ("\n".join(lines) + "\n").encode()
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr(path.with_suffix(".csv").name, data)
            file.writestr(path.with_suffix(".zip.CHECKSUM").name, "0  nothing")
    else:
        path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def _read(folder: Path) -> dict[str, Any]:
    batches = [b.ticks for b in open_recording(folder).batches()]
    return {n: np.concatenate([b.column(n) for b in batches]) for n in batches[0].names}


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".zip"])
@pytest.mark.parametrize("header", [True, False], ids=["header", "bare"])
@pytest.mark.parametrize(("format", "layout"), HEADERS)
def test_every_layout_comes_back(
    tmp_path: Path, format: str, layout: str, header: bool, suffix: str
) -> None:
    """Each market's layouts, packed or not, with header or without, are told and read exactly."""
    spot, symbol = format == "binance-spot", SYMBOLS[format]
    unit = 1000 if spot else 1_000_000
    ticks = _ticks(300, unit)
    rows = [_row(layout, spot, tick, unit) for tick in ticks]
    lines = [HEADERS[format, layout], *rows] if header else rows
    path = _write(tmp_path / f"{symbol}-{layout}-2025-06-01{suffix}", lines)

    report = import_ticks(path, tmp_path / "rec")

    found = _read(tmp_path / "rec")
    [instrument] = open_recording(tmp_path / "rec").table
    assert (report.files[0]["format"], report.files[0]["layout"]) == (format, layout)
    assert (instrument.token, instrument.symbol, instrument.venue, instrument.kind) == (
        made_token(VENUES[format], symbol),
        symbol,
        VENUES[format],
        KINDS[format],
    )
    assert (instrument.price_scale, instrument.quantity_scale) == (PRICE_SCALE, QUANTITY_SCALE)
    assert instrument.contract_size == ("100" if format == "binance-cm" else "1")
    assert found["ts_event"].tolist() == [t["ts_event"] for t in ticks]
    if layout == "bookTicker":
        assert found["bid_int"].tolist() == [t["price_int"] for t in ticks]
        assert found["ask_int"].tolist() == [t["price_int"] + 1 for t in ticks]
        assert found["bid_quantity_int"].tolist() == [t["quantity_int"] for t in ticks]
        assert set(found["ask_quantity_int"].tolist()) == {7500}
        assert (found["flags"] & flag.QUOTE).all()
    else:
        for name in ("price_int", "quantity_int", "trade_id", "side"):
            assert found[name].tolist() == [t[name] for t in ticks], name


def test_a_header_two_markets_share_is_refused_with_both(tmp_path: Path) -> None:
    """USD-M and COIN-M aggTrades look alike; without a telling name the candidates are named."""
    rows = [_row("aggTrades", False, t, 1_000_000) for t in _ticks(3, 1_000_000)]
    path = _write(tmp_path / "data.csv", [HEADERS["binance-um", "aggTrades"], *rows])

    with pytest.raises(InputRefused, match=r"binance-um aggTrades .*; binance-cm agg") as caught:
        import_ticks(path, tmp_path / "rec")

    assert "--format binance-um or --format binance-cm" in caught.value.cure
    import_ticks(path, tmp_path / "rec", format="binance-cm", map="symbol==ETHUSD_PERP")
    [instrument] = open_recording(tmp_path / "rec").table
    assert (instrument.symbol, instrument.contract_size) == ("ETHUSD_PERP", "10")


def test_a_table_gives_the_token(tmp_path: Path) -> None:
    """An --instrument-table is asked by symbol and venue, and its token and scales stand."""
    rows = [_row("trades", True, t, 1000) for t in _ticks(3, 1000)]
    path = _write(tmp_path / "BTCUSDT-trades-2025-06-01.csv", rows)
    spot = Instrument(token=7, symbol="BTCUSDT", venue="BINANCE-SPOT", price_scale=8,
                      quantity_scale=8)  # fmt: skip
    perp = Instrument(token=8, symbol="BTCUSDT", venue="BINANCE-USDM", price_scale=1,
                      quantity_scale=3)  # fmt: skip

    import_ticks(path, tmp_path / "rec", instrument_table=InstrumentTable([spot, perp]))

    assert set(_read(tmp_path / "rec")["instrument_token"].tolist()) == {7}


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("BTCUSDT-trades-2025-06-01.csv", lambda r: "a,b,c\n1,2,3", "no column for ts_event"),
        ("trades.csv", lambda r: r, "no column for instrument_token"),
        ("BTCUSDT-1m-2025-06-01.csv", lambda r: "open_time,open,high,low,close\n1,1,1,1,1", "bars"),
    ],
)
def test_what_is_no_archive_is_refused(
    tmp_path: Path, name: str, change: Callable[[str], str], message: str
) -> None:
    """Files that are not of the layout, or that nobody can name an instrument for, are refused."""
    rows = [_row("trades", True, t, 1000) for t in _ticks(3, 1000)]
    path = _write(tmp_path / name, change("\n".join(rows)).split("\n"))

    with pytest.raises(InputRefused, match=message):
        import_ticks(path, tmp_path / "rec")
