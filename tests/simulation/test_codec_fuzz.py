"""Whatever bytes come, over every codec: a tick, or a named reason; and no neighbour is touched.

50 000 payloads in the normal run, a million in a soak (`make soak`): mutated messages and
noise, each between two good ones.
"""

import base64
import json
import random
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from parity.model import ticks as flag
from parity.model.extensions import Extension
from parity.model.instruments import Instrument, InstrumentTable
from parity.model.ticks import TickBatch
from parity.sources import synthetic
from parity.sources.codecs.exact import LIMIT
from parity.sources.codecs.market_tick import KITE
from parity.sources.codecs.native import encode_batch
from parity.sources.codecs.registry import CODECS, decoder_of
from parity.sources.decoding import Messages, decode_messages

pytestmark = pytest.mark.slow
PAYLOADS = 50_000
SOAKED = 1_000_000
CHUNK = 500

TOKENS = (897537, 2953217, 9537538, 11234562, 4454401, 12334338, 408065, 256265)
TABLE = InstrumentTable(
    [
        *(Instrument(token=t, symbol=str(t), price_scale=2, kind="equity") for t in TOKENS),
        Instrument(token=1, symbol="BTCUSDT", price_scale=2, quantity_scale=5),
        Instrument(token=2, symbol="BTCUSDT", kind="perp", price_scale=1, quantity_scale=3),
        Instrument(token=3, symbol="BTCUSD_PERP", kind="inverse", price_scale=1),
        *synthetic.TABLE,
    ],
    [Extension(name, kind) for name, kind in KITE.items()],
)
LEVEL = {"price": 1573.4, "quantity": 5, "orders": 1}
KITE_TICK = {
    "mode": "full", "instrument_token": 408065, "last_price": 1573.7, "volume_traded": 9,
    "ohlc": {"open": 1569.15, "high": 1575, "low": 1561.05, "close": 1567.8}, "oi": 3,
    "exchange_timestamp": "2021-07-05T10:41:27", "depth": {"buy": [LEVEL] * 5, "sell": [LEVEL]},
}  # fmt: skip
TRADE = {"e": "trade", "s": "BTCUSDT", "t": 5, "p": "61837.63", "q": "0.02", "T": 1723161255342}
BINANCE = [
    {**TRADE, "m": True, "M": True},
    {"stream": "btcusdt@trade", "data": {**TRADE, "p": "61837.6", "X": "MARKET", "m": False}},
    {"e": "aggTrade", "s": "BTCUSDT", "a": 1, "p": "1.5", "q": "2", "T": 1723161255342, "m": True},
    {"u": 7, "s": "BTCUSDT", "b": "61837.63", "B": "3.78", "a": "61837.64", "A": "1.5"},
]


def packet(*values: int) -> bytes:
    """Return a packet of Kite with its length before it."""
    return struct.pack(f">H{len(values)}I", 4 * len(values), *values)


def good(codec: str, shared: Path | None) -> list[bytes]:
    """Return messages that decode; the recorded ones too where they are there."""
    if codec.startswith("native"):
        table, records = synthetic.generate(ticks=200)
        batch = TickBatch.from_records(records, table)
        return encode_batch(batch, "json" if codec == "native" else "msgpack")
    samples = None if shared is None else shared / "samples"
    if codec == "kite":
        found = [json.dumps(KITE_TICK).encode(), json.dumps([KITE_TICK] * 3).encode()]
        if samples is not None:
            found += (samples / "kite_ticks_python_sdk.jsonl").read_bytes().splitlines()
        return found
    if codec == "kite-binary":
        quote = (408065, 157370, 7, 157037, 1192471, 5, 6, 156915, 157500, 156105, 156780)
        full = (*quote, 1625461887, 0, 0, 0, 1625461887, *range(1, 31))
        packets = [packet(*quote[:2]), packet(*quote), packet(*full), packet(256265, *range(7))]
        frames = [struct.pack(">H", n) + b"".join(packets[:n]) for n in range(1, 5)]
        for mode in ("quote", "full") if samples is not None else ():
            body = base64.b64decode((samples / f"kite_mock_ticker_{mode}.packet").read_bytes())
            frames.append(struct.pack(">HH", 1, len(body)) + body)
        return frames
    found = [json.dumps(one).encode() for one in BINANCE]
    for market in ("spot_btcusdt", "usdm_btcusdt", "coinm_btcusd_perp") if samples else ():
        lines = (samples / f"binance_ws_{market}.log").read_bytes().splitlines()
        found += [line.partition(b" ")[2] for line in lines if b'"trade"' in line or b'"B"' in line]
    return found


def mutated(draw: random.Random, messages: list[bytes]) -> Iterator[bytes]:
    """Yield payloads without end: noise, and messages with something done to them."""
    telling = [b"0", b"-", b"e9", b"null", b"NaN", b'"', b"{", b"[", b"]", b"\\u", b"\xff", b"\x00",
               b"99999999999999999999", b"1e400", b".", b"true", b"\xdd\xff\xff\xff"]  # fmt: skip
    while True:
        if not draw.randrange(8):
            yield draw.randbytes(draw.randrange(64))
            continue
        body = bytearray(draw.choice(messages))
        for _ in range(draw.randrange(1, 4)):
            at = draw.randrange(len(body) + 1)
            to = min(len(body), at + draw.randrange(12))
            digits = [n for n, byte in enumerate(body) if 48 <= byte <= 57]
            match draw.randrange(9):
                case 0 if at < len(body):
                    body[at] ^= 1 << draw.randrange(8)
                case 6 | 7 | 8 if digits:
                    body[draw.choice(digits)] = draw.randrange(48, 58)
                case 1:
                    del body[at:]
                case 2:
                    del body[at:to]
                case 3:
                    body[at:to] = draw.choice(telling)
                case 4:
                    body[at:at] = body[at:to] * draw.randrange(1, 4)
                case _:
                    other = draw.choice(messages)
                    body[at:to] = other[draw.randrange(len(other)) :][: draw.randrange(40)]
        yield bytes(body)


@pytest.fixture
def samples(request: pytest.FixtureRequest) -> Path | None:
    """The shared data where it is there; the hand-made messages do without."""
    try:
        found: Path = request.getfixturevalue("shared_data")
    except pytest.skip.Exception:
        return None
    return found


@pytest.mark.parametrize("codec", CODECS)
def test_any_bytes_are_ticks_or_a_reason(
    codec: str, soak: int, seed: int, samples: Path | None
) -> None:
    """Each message's own ticks are sound, it has at most one reason, its neighbours are whole."""
    draw = random.Random(seed)
    decoder = decoder_of(codec, TABLE, "Asia/Kolkata" if codec == "kite" else None)
    messages = good(codec, samples)
    whole = decode_messages(decoder, Messages(messages, *([[0] * len(messages)] * 3), []))
    assert [] == [note.detail["reason"] for note in whole.notes]
    payloads = mutated(draw, messages)
    total = (SOAKED if soak else PAYLOADS) // len(CODECS)
    seen = {"ticks": 0, "refused": 0, "nothing": 0}
    for _ in range(0, total, CHUNK):
        batch: list[bytes] = []
        for _ in range(CHUNK):
            batch += [draw.choice(messages), next(payloads)]
        check(codec, decoder, batch, seen)

    assert total <= sum(seen.values())
    assert min(seen["ticks"], seen["refused"]) > total // 50  # both doors were used


def check(codec: str, decoder: object, batch: list[bytes], seen: dict[str, int]) -> None:
    """Decode good and fuzzed messages by turns; hold each record and note to what it must be."""
    count = len(batch)
    found = decode_messages(decoder, Messages(batch, [3] * count, [*range(count)], [7] * count, []))
    ticks, notes = found.records, found.notes
    alone = Messages(batch[::2], [3] * len(batch[::2]), [*range(0, count, 2)], [7] * count, [])
    good_ones = decode_messages(decoder, alone)

    assert {3: count} == found.positions
    even = ticks[ticks["offset"] % 2 == 0]
    assert good_ones.records.tobytes() == even.tobytes()
    assert (np.diff(ticks["offset"]) >= 0).all()
    refused = [note.detail["offset"] for note in notes]
    assert sorted(set(refused)) == refused
    assert all(offset % 2 for offset in refused)
    for note in notes:
        assert note.detail["reason"]
        assert batch[note.detail["offset"]] == note.detail["payload"]
        # behind its own message's ticks, before the next one's
        assert (ticks["offset"][: note.row] <= note.detail["offset"]).all()
        assert (ticks["offset"][note.row :] > note.detail["offset"]).all()
    sound(ticks, codec)
    with_ticks = {*ticks["offset"].tolist()}
    for offset in range(1, count, 2):
        if offset not in with_ticks and offset not in refused:
            seen["nothing"] += 1
            assert holds_nothing(codec, batch[offset]), batch[offset]
    seen["ticks"] += len([offset for offset in with_ticks if offset % 2])
    seen["refused"] += len(refused)


def holds_nothing(codec: str, payload: bytes) -> bool:
    """Whether a message that gave neither is one that may: a heartbeat, no packets, no ticks."""
    if codec == "kite-binary":
        return len(payload) == 1 or payload == b"\x00\x00"
    return codec == "kite" and payload.strip().replace(b" ", b"") == b"[]"


def sound(ticks: np.ndarray, codec: str) -> None:
    """What any decoded tick must be, whatever it came from."""
    kinds = ticks["flags"] & flag.KIND_BITS
    assert np.isin(kinds, [flag.TRADE, flag.QUOTE, flag.INDEX, flag.SNAPSHOT]).all()
    assert np.isin(ticks["instrument_token"], TABLE.tokens).all()
    assert (ticks["flags"] & (flag.SEQUENCER_BITS | flag.NO_TS_RECV) == 0).all()
    assert np.isin(ticks["side"], [-1, 0, 1]).all()
    scaled = [name for name in ticks.dtype.names if name.endswith("_int")]
    for name in scaled:
        assert (abs(ticks[name]) < LIMIT).all(), name
    if codec.startswith("native"):
        return  # its own flags are taken as they are, beside whatever values
    for name, bit in (("price_int", flag.NO_PRICE), ("bid_int", flag.NO_BID)):
        neutral = ticks[name][ticks["flags"] & bit != 0]
        assert neutral.tolist() == [0] * len(neutral)
