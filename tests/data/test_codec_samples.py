"""Every recorded message of the shared samples decodes to the stated values, or says what it is."""

import base64
import json
import struct
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from parity.model import ticks as flag
from parity.model.extensions import Extension
from parity.model.instruments import Instrument, InstrumentTable
from parity.sources.codecs.market_tick import KITE
from parity.sources.codecs.registry import decoder_of
from parity.sources.decoding import Messages, decode_messages

pytestmark = pytest.mark.data

BINANCE = InstrumentTable(
    [
        Instrument(token=920001, symbol="BTCUSDT", price_scale=2, quantity_scale=5),
        Instrument(token=920101, symbol="BTCUSDT", kind="perp", price_scale=1, quantity_scale=3),
        Instrument(token=920201, symbol="BTCUSD_PERP", kind="inverse", price_scale=1),
        Instrument(token=1, symbol="XRPETH", price_scale=8, quantity_scale=8),
    ]
)
MARKETS = [
    ("spot_btcusdt", "binance_spot_BTCUSDT", 920001, (1129, 4362, 509)),
    ("usdm_btcusdt", "binance_usdm_BTCUSDT", 920101, (920, 4620, 460)),
    ("coinm_btcusd_perp", "binance_coinm_BTCUSD_PERP", 920201, (58, 989, 1453)),
]
KITE_TOKENS = (897537, 2953217, 9537538, 11234562, 4454401, 12334338, 408065)
KITE_TABLE = InstrumentTable(
    [Instrument(token=t, symbol=str(t), kind="equity", price_scale=2) for t in KITE_TOKENS],
    [Extension(name, kind) for name, kind in KITE.items()],
)


def decoded(
    codec: str, payloads: list[bytes], table: InstrumentTable, zone: str | None = None
) -> tuple[np.ndarray, list[str]]:
    """Return the ticks of messages at offsets from 0, and the reasons of what is none."""
    count = len(payloads)
    messages = Messages([*payloads], [0] * count, [*range(count)], [7] * count, [])
    found = decode_messages(decoder_of(codec, table, zone), messages)
    return found.records, [note.detail["reason"] for note in found.notes]


def captured(folder: Path, name: str) -> Iterator[tuple[int, bytes]]:
    """Yield (arrival, message) of a captured websocket."""
    for line in (folder / "samples" / f"binance_ws_{name}.log").read_bytes().splitlines():
        at, _, message = line.partition(b" ")
        yield int(at), message


@pytest.mark.parametrize(("sample", "data", "token", "counts"), MARKETS)
@pytest.mark.parametrize("bare", [False, True], ids=["combined", "bare"])
def test_captured_messages_are_the_stated_ticks(
    shared_data: Path, sample: str, data: str, token: int, counts: tuple[int, ...], bare: bool
) -> None:
    """Trades and quotes have the data set's integers, ids, sides and times, and nothing is lost."""
    messages = [*captured(shared_data, sample)]
    arrived = [at for at, _ in messages]
    payloads = [m for _, m in messages]
    if bare:
        payloads = [json.dumps(json.loads(m).get("data")).encode() for m in payloads]
    ticks, reasons = decoded("binance", payloads, BINANCE)
    trades = ticks[ticks["flags"] & flag.TRADE != 0]
    quotes = ticks[ticks["flags"] & flag.QUOTE != 0]
    stated = pl.read_parquet(shared_data / f"{data}_20240808_trades.parquet")
    best = pl.read_parquet(shared_data / f"{data}_20240808_quotes.parquet")

    assert counts == (len(trades), len(quotes), len(reasons))
    assert {"e: expected trade, aggTrade or bookTicker, was 'depthUpdate'"} == set(reasons)
    assert {token} == set(ticks["instrument_token"].tolist())
    found = pl.DataFrame(
        {
            "trade_id": trades["trade_id"],
            "ts_event": trades["ts_event"],
            "ts_recv": [arrived[n] for n in trades["offset"].tolist()],
            "price_i": trades["price_int"],
            "quantity_i": trades["quantity_int"],
            "side": trades["side"],
        }
    )
    assert stated.select(found.columns).head(len(trades)).rows() == found.rows()
    wanted = best.filter(pl.col("ts_recv") <= max(arrived)).head(len(quotes))
    scale = int(stated["quantity_scale"][0])
    assert wanted["ts_recv"].to_list() == [arrived[n] for n in quotes["offset"].tolist()]
    for side in ("bid", "ask"):
        assert wanted[f"{side}_i"].to_list() == quotes[f"{side}_int"].tolist()
        sizes = [round(float(text) * 10**scale) for text in wanted[f"{side}_qty"].to_list()]
        assert sizes == quotes[f"{side}_quantity_int"].tolist()
    timed = quotes["flags"] & flag.NO_VENUE_TIME == 0
    assert timed.all() == (sample != "spot_btcusdt")
    if timed.all():
        assert wanted["ts_event"].to_list() == quotes["ts_event"].tolist()
    else:  # spot quotes carry no time: the broker's stands in
        assert {7_000_000} == set(quotes["ts_event"].tolist())


@pytest.mark.parametrize(
    ("market", "token", "data"),
    [("spot", 920001, "binance_spot_BTCUSDT"), ("usdm", 920101, "binance_usdm_BTCUSDT")],
)
def test_aggregates_sum_to_the_trades_they_are_made_of(
    shared_data: Path, market: str, token: int, data: str
) -> None:
    """4 000 aggTrades have price, side, time and the exact quantity of the trades of their ids."""
    path = shared_data / "samples" / f"DERIVED_binance_ws_aggtrade_{market}_btcusdt.jsonl"
    payloads = path.read_bytes().splitlines()
    ticks, reasons = decoded("binance", payloads, BINANCE)
    events = [json.loads(p)["data"] for p in payloads]
    stated = pl.read_parquet(shared_data / f"{data}_20240808_trades.parquet")
    sums: Counter[int] = Counter()
    first = {e["f"]: n for n, e in enumerate(events)}
    at = -1
    for trade_id, price, quantity, side in stated.select(
        "trade_id", "price_i", "quantity_i", "side"
    ).iter_rows():
        at = first.get(trade_id, at)
        if trade_id <= events[-1]["l"]:
            sums[at] += quantity
            assert (ticks["price_int"][at], ticks["side"][at]) == (price, side)

    assert ([], 4000) == (reasons, len(ticks))
    assert {token} == set(ticks["instrument_token"].tolist())
    assert [*range(1, 4001)] == ticks["trade_id"].tolist()
    assert [e["T"] * 1_000_000 for e in events] == ticks["ts_event"].tolist()
    assert [sums[n] for n in range(4000)] == ticks["quantity_int"].tolist()


def test_objects_of_the_rest_interface_need_their_symbol(shared_data: Path) -> None:
    """They have none: under a combined stream's name they are read, alone they are refused."""
    path = shared_data / "samples" / "binance_rest_aggtrades_xrpeth.jsonl"
    objects = path.read_bytes().splitlines()
    wrapped = [b'{"stream":"xrpeth@aggTrade","data":%s}' % one for one in objects]
    ticks, reasons = decoded("binance", wrapped, BINANCE)
    none, alone = decoded("binance", objects, BINANCE)

    assert ([], 3000) == (reasons, len(ticks))
    assert (0, 3000) == (len(none), len(alone))
    said = [json.loads(one) for one in objects]
    assert [int(o["p"].replace(".", "")) for o in said] == ticks["price_int"].tolist()
    assert [int(o["q"].replace(".", "")) for o in said] == ticks["quantity_int"].tolist()
    assert [o["a"] for o in said] == ticks["trade_id"].tolist()
    assert [-1 if o["m"] else 1 for o in said] == ticks["side"].tolist()


def test_ticks_of_the_kite_client_are_the_stated_values(shared_data: Path) -> None:
    """Three modes, old and new keys, naive times of India, a null and an absent time."""
    path = shared_data / "samples" / "kite_ticks_python_sdk.jsonl"
    payloads = path.read_bytes().splitlines()
    ticks, reasons = decoded("kite", payloads, KITE_TABLE, "Asia/Kolkata")
    said = [json.loads(p) for p in payloads]

    assert ([], 8) == (reasons, len(ticks))
    assert [one["instrument_token"] for one in said] == ticks["instrument_token"].tolist()
    assert [round(one["last_price"] * 100) for one in said] == ticks["price_int"].tolist()
    volumes = [one.get("volume_traded", one.get("volume", 0)) for one in said]
    assert volumes == ticks["volume_int"].tolist()
    sold = [one.get("last_traded_quantity", one.get("last_quantity", 0)) for one in said]
    assert sold == ticks["quantity_int"].tolist()
    average = [one.get("average_traded_price", one.get("average_price", 0)) for one in said]
    assert [round(100 * a) for a in average] == ticks["average_price_int"].tolist()
    wanted = [one["total_buy_quantity"] if "total_buy_quantity" in one
              else one.get("buy_quantity", 0) for one in said]  # fmt: skip
    assert wanted == ticks["total_buy_quantity_int"].tolist()
    # 11:06:12 in India is 05:36:12 UTC
    assert 1563168972_000_000_000 == ticks["ts_event"][2]
    untimed = [n for n, one in enumerate(said)
               if not (one.get("exchange_timestamp") or one.get("timestamp"))]  # fmt: skip
    assert [0, 1, 4, 5] == [n for n in untimed if said[n]["mode"] != "full"]
    assert untimed == np.flatnonzero(ticks["flags"] & flag.NO_VENUE_TIME).tolist()
    assert {7_000_000} == {int(ticks["ts_event"][n]) for n in untimed}
    assert {flag.SNAPSHOT} == set((ticks["flags"] & flag.KIND_BITS).tolist())
    depth = said[2]["depth"]
    assert [round(100 * level["price"]) for level in depth["buy"]] == [
        int(ticks[f"bid_{n}_int"][2]) for n in range(1, 6)
    ]
    assert [level["orders"] for level in depth["sell"]] == [
        int(ticks[f"ask_orders_{n}"][2]) for n in range(1, 6)
    ]
    naive = decoded("kite", payloads, KITE_TABLE)[1]
    timed = [one for one in said if one["mode"] == "full"]
    assert len(timed) == len(naive) == sum("naive" in why for why in naive)


@pytest.mark.parametrize("mode", ["quote", "full"])
def test_a_binary_packet_is_the_tick_of_its_json(shared_data: Path, mode: str) -> None:
    """The vendor's packet and its JSON give one record, but for what the JSON shows otherwise."""
    samples = shared_data / "samples"
    packet = base64.b64decode((samples / f"kite_mock_ticker_{mode}.packet").read_bytes())
    frame = struct.pack(">hh", 1, len(packet)) + packet
    text = (samples / f"kite_mock_ticker_{mode}.json").read_bytes()
    (binary,), refused = decoded("kite-binary", [frame], KITE_TABLE)
    (plain,), also = decoded("kite", [text], KITE_TABLE)

    assert ([], []) == (refused, also)
    assert plain.tolist() == binary.tolist()
    assert {"quote": 157315, "full": 157370}[mode] == binary["price_int"]
    assert {"quote": 1175986, "full": 1192471}[mode] == binary["volume_int"]
    assert (256511 if mode == "quote" else 256443) == binary["total_buy_quantity_int"]
    if mode == "full":
        assert (157340, 5, 157370) == (
            binary["bid_int"], binary["bid_quantity_int"], binary["ask_int"])  # fmt: skip
        assert 1625461887_000_000_000 == binary["ts_event"] == binary["last_trade_time"]


def test_a_price_alone_is_a_tick_of_ltp_mode(shared_data: Path) -> None:
    """The vendor's ltp sample: a price, no time, nothing else."""
    text = (shared_data / "samples" / "kite_mock_ticker_ltp.json").read_bytes()
    (tick,), refused = decoded("kite", [text], KITE_TABLE)

    assert [] == refused
    assert (408065, 157315, 7_000_000) == tuple(
        tick[n].item() for n in ("instrument_token", "price_int", "ts_event")
    )
    assert flag.NO_VENUE_TIME & tick["flags"]
