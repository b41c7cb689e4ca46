"""Kite tick lines: both generations of keys, every mode, read back with all they carry."""

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vendor_files import kite

from parity.model import ticks as flag
from parity.model.errors import InputRefused
from parity.recording.reader import open_recording
from parity.sources.codecs.market_tick import KITE
from parity.sources.importers import import_ticks

INFY, NIFTY, USDINR = 408065, 256265, 4_100_355  # & 0xff: NSE 1, indices 9, currency 3
IST = dt.timezone(dt.timedelta(hours=5, minutes=30))
START = dt.datetime(2024, 4, 25, 9, 15, 0)  # noqa: DTZ001 -- the client's own naive time


def _full(second: int = 0, **changes: Any) -> dict[str, Any]:
    tick = {
        "tradable": True, "mode": "full", "instrument_token": INFY, "last_price": 1573.15,
        "last_traded_quantity": 10, "average_traded_price": 1572.8, "volume_traded": 51_000,
        "total_buy_quantity": 900, "total_sell_quantity": 1_100,
        "ohlc": {"open": 1570.0, "high": 1575.5, "low": 1569.05, "close": 1567.8},
        "change": 0.34, "last_trade_time": (START + dt.timedelta(seconds=second)).isoformat(),
        "oi": 0, "oi_day_high": 0, "oi_day_low": 0,
        "exchange_timestamp": (START + dt.timedelta(seconds=second)).isoformat(),
        "depth": {
            "buy": [{"quantity": 5 * n, "price": 1573.0 - n / 20, "orders": n} for n in range(5)],
            "sell": [{"quantity": 7, "price": 1573.2, "orders": 1}] + [
                {"quantity": 0, "price": 0.0, "orders": 0}] * 4,
        },
    }  # fmt: skip
    return tick | changes


def _columns(folder: Path) -> dict[str, Any]:
    """Return every column of a small recording, extensions by name, absent as None."""
    (batch,) = [b.ticks for b in open_recording(folder).batches()]
    found = {name: batch.column(name).tolist() for name in batch.names}
    known = batch.table.columns
    for field, extension in known.extensions.items():
        there = batch.column("present") & known.bits[field] != 0
        values = batch.column(field).tolist()
        found[extension.name] = [v if t else None for v, t in zip(values, there, strict=True)]
    return found


def _ns(second: int = 0) -> int:
    return int(START.replace(tzinfo=IST).timestamp() + second) * 10**9


def test_a_full_tick_comes_back_with_all_it_carries(tmp_path: Path) -> None:
    """Price, book, day's sums, OHLC, five levels: every number is what the line says."""
    import_ticks(kite(tmp_path / "k.jsonl", [_full()]), tmp_path / "rec", tz="Asia/Kolkata")

    found = _columns(tmp_path / "rec")
    (held,) = open_recording(tmp_path / "rec").table
    assert ("408065", "NSE", "equity", 2, 0) == (
        held.symbol, held.venue, held.kind, held.price_scale, held.quantity_scale
    )  # fmt: skip
    wanted = {
        "ts_event": _ns(), "price_int": 157315, "quantity_int": 10, "volume_int": 51_000, "side": 0,
        "bid_int": 157300, "ask_int": 157320, "bid_quantity_int": 0, "ask_quantity_int": 7,
        "open_interest": 0, "open": 157000, "high": 157550, "low": 156905, "close": 156780,
        "average_price": 157280, "last_trade_time": _ns(), "total_buy_quantity": 900,
        "total_sell_quantity": 1_100, "open_interest_day_high": 0, "bid_3": 157290,
        "bid_quantity_3": 10, "bid_orders_3": 2, "bid_5": 157280, "ask_1": 157320,
        "ask_orders_1": 1, "ask_2": None, "ask_quantity_2": None, "ask_orders_5": None,
    }  # fmt: skip
    assert wanted == {name: found[name][0] for name in wanted}
    assert found["flags"][0] & flag.KIND_BITS == flag.SNAPSHOT
    assert tuple(KITE) == tuple(e.name for e in open_recording(tmp_path / "rec").table.extensions)


@settings(max_examples=15)
@given(
    prices=st.lists(st.integers(1, 10**9), min_size=1, max_size=8),
    old=st.booleans(),
    at_once=st.integers(0, 3),
)
def test_ticks_come_back_from_every_way_to_write_them(
    prices: list[int], old: bool, at_once: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Keys of both generations; a dict a line, or a list of what the client was handed."""
    folder = tmp_path_factory.mktemp("kite")
    ticks = [
        _full(n, last_price=price / 100, volume_traded=price, average_traded_price=price / 100)
        for n, price in enumerate(prices)
    ]
    path = kite(folder / "k.jsonl", ticks, old=old, at_once=at_once)

    report = import_ticks(path, folder / "rec", tz="Asia/Kolkata")

    found = _columns(folder / "rec")
    assert prices == found["price_int"] == found["volume_int"] == found["average_price"]
    assert [_ns(n) for n in range(len(prices))] == found["ts_event"]
    assert "kite" == report.files[0]["format"]


def test_ltp_and_quote_ticks_live_by_their_recorders_time(tmp_path: Path) -> None:
    """Without any time they are refused with the cure; with ts_recv they are taken, as declared."""
    ltp = {"tradable": True, "mode": "ltp", "instrument_token": INFY, "last_price": 1101.2}
    with pytest.raises(InputRefused, match=r"line 1: exchange_timestamp.*ltp and quote.*ts_recv"):
        import_ticks(kite(tmp_path / "k.jsonl", [ltp]), tmp_path / "rec", tz="Asia/Kolkata")

    quote = {k: v for k, v in _full().items() if k in ("ohlc", "average_traded_price")}
    ticks = [ltp | {"ts_recv": _ns()}, ltp | quote | {"mode": "quote", "ts_recv": _ns(1)}]
    report = import_ticks(kite(tmp_path / "k.jsonl", ticks), tmp_path / "rec")

    found = _columns(tmp_path / "rec")
    table = open_recording(tmp_path / "rec").table
    assert ("ts_recv", [_ns(), _ns(1)]) == (report.order, found["ts_recv"])
    assert all(f & flag.NO_VENUE_TIME for f in found["flags"])
    assert ["open", "high", "low", "close", "average_price"] == [e.name for e in table.extensions]
    assert [None, 157000] == found["open"]
    assert ["recv"] == [i.clock for i in table]


def test_an_index_is_an_index_and_a_segment_has_its_scale(tmp_path: Path) -> None:
    """NIFTY 50 is not tradable; currency prices have seven decimals."""
    keys = ("mode", "last_price", "ohlc", "change", "exchange_timestamp")
    index = {k: v for k, v in _full().items() if k in keys}
    ticks = [
        index | {"tradable": False, "instrument_token": NIFTY},
        _full(1, instrument_token=USDINR, last_price=83.4925, ohlc=None, depth=None),
    ]
    import_ticks(kite(tmp_path / "k.jsonl", ticks), tmp_path / "rec", tz="Asia/Kolkata")

    found = _columns(tmp_path / "rec")
    table = open_recording(tmp_path / "rec").table
    assert ("INDICES", "index", 2) == (
        table.by_token(NIFTY).venue, table.by_token(NIFTY).kind, table.by_token(NIFTY).price_scale
    )  # fmt: skip
    assert ("CDS", 7) == (table.by_token(USDINR).venue, table.by_token(USDINR).price_scale)
    assert [flag.INDEX, flag.SNAPSHOT] == [f & flag.KIND_BITS for f in found["flags"]]
    assert [157315, 834925000] == found["price_int"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"last_price": None}, "line 2: last_price: expected a number, was None"),
        ({"last_price": "1573.15"}, "line 2: last_price: expected a number, was '1573.15'"),
        ({"last_price": -1.0}, "line 2: price (key last_price): expected a price above zero"),
        ({"instrument_token": "408065"}, "line 2: instrument_token: expected an integer"),
        ({"volume_traded": True}, "line 2: volume_traded: expected a number, was True"),
        ({"exchange_timestamp": None}, "line 2: exchange_timestamp: expected a time"),
        (
            {"exchange_timestamp": "yesterday"},
            "line 2: ts_event (key exchange_timestamp): expected",
        ),
        ({"ohlc": [1, 2]}, "line 2: ohlc: expected a dict"),
        ({"depth": {"buy": {}}}, "line 2: depth.buy: expected a list, was {}"),
        ({"oi": 1.5}, "line 2: open_interest (key oi): expected an integer"),
        (
            {"exchange_timestamp": "2024-04-25T09:00:00"},
            "line 2: ts_event (key exchange_timestamp): expected rows in",
        ),
    ],
)
def test_wrong_ticks_are_refused_by_name(
    change: dict[str, Any], words: str, tmp_path: Path
) -> None:
    """File, line, key and value are named, and nothing is left behind."""
    path = kite(tmp_path / "k.jsonl", [_full(), _full(1, **change)])

    with pytest.raises(InputRefused) as refused:
        import_ticks(path, tmp_path / "rec", tz="Asia/Kolkata")

    assert f"{path}: {words}" in str(refused.value)
    assert refused.value.cure
    assert not (tmp_path / "rec").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"last_price": "x"}, "line 2: last_price: expected a number, was 'x'"),
        ({"last_price": -1}, "line 2: price (key last_price): expected a price above zero, was '-"),
        ({"last_trade_time": "soon"}, "line 2: last_trade_time: expected one instant"),
        ({"exchange_timestamp": "soon"}, "line 2: ts_event (key exchange_timestamp): expected one"),
    ],
)
def test_a_tick_in_a_list_is_named_by_its_line(
    change: dict[str, Any], words: str, tmp_path: Path
) -> None:
    """Where lines hold lists of ticks, a refusal of any reader says the line, not the tick."""
    without = _full()
    del without["last_trade_time"]
    lines = [[without, without], [without, without | change]]
    path = tmp_path / "k.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))

    with pytest.raises(InputRefused) as refused:
        import_ticks(path, tmp_path / "rec", tz="Asia/Kolkata")

    assert f"{path}: {words}" in str(refused.value)
    assert refused.value.cure


def test_naive_times_need_a_zone(tmp_path: Path) -> None:
    """The client's times are naive: which zone is never guessed."""
    with pytest.raises(InputRefused, match="--tz"):
        import_ticks(kite(tmp_path / "k.jsonl", [_full()]), tmp_path / "rec")


def test_half_a_line_and_other_json_are_refused(tmp_path: Path) -> None:
    """A line that was cut is named; what is no list of dicts too."""
    path = kite(tmp_path / "k.jsonl", [_full(), _full(1)])
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(InputRefused, match="line 2: expected JSON"):
        import_ticks(path, tmp_path / "rec", tz="Asia/Kolkata")
    path.write_text(json.dumps(_full()) + "\n[1]\n")
    with pytest.raises(InputRefused, match="line 2: expected a dict"):
        import_ticks(path, tmp_path / "rec", tz="Asia/Kolkata")
    path.write_text('{"a": 1}\n')
    with pytest.raises(InputRefused, match="no tick of the Kite client"):
        import_ticks(path, tmp_path / "rec", format="kite")


@pytest.mark.data
def test_real_ticks_of_the_python_client(shared_data: Path, tmp_path: Path) -> None:
    """Full-mode ticks of 2019 to 2024 come in with both sets of keys; the timeless are refused."""
    sample = shared_data / "samples/kite_ticks_python_sdk.jsonl"
    with pytest.raises(InputRefused, match="line 1: exchange_timestamp"):
        import_ticks(sample, tmp_path / "rec", tz="Asia/Kolkata")

    ticks = [json.loads(line) for line in sample.read_text().splitlines()]
    timed = [t for t in ticks if t.get("timestamp") or t.get("exchange_timestamp")]
    timed.sort(key=lambda t: str(t.get("timestamp") or t["exchange_timestamp"]))
    import_ticks(kite(tmp_path / "k.jsonl", timed), tmp_path / "rec", tz="Asia/Kolkata")

    found = _columns(tmp_path / "rec")
    assert [round(t["last_price"] * 100) for t in timed] == found["price_int"]
    assert [t.get("volume") or t["volume_traded"] for t in timed] == found["volume_int"]
    assert [round(t["depth"]["sell"][4]["price"] * 100) for t in timed] == found["ask_5"]
    assert [t["depth"]["buy"][1]["orders"] for t in timed] == found["bid_orders_2"]
