"""Synthetic ticks from a seed: the same ticks on every machine, for demos, tests and benchmarks.

Integer arithmetic only, on the raw words of a Philox counter (their bits are part of numpy's
promise, unlike those of its distributions): no float, no clock, no other source of chance.

Two instruments trade. Their prices walk at random around their start, and block by block a regime
is laid over the walk: a trend of 64 ticks, a slow swing, a spike that dies away, or nothing. So
strategies on momentum and on mean reversion both find something now and then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from parity.model import ticks as flag
from parity.model.errors import ConfigError
from parity.model.instruments import Instrument, InstrumentTable
from parity.model.ticks import TICK_DTYPE, TickBatch

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    Words = npt.NDArray[np.uint64]
    Ints = npt.NDArray[np.int64]

START_NS: Final = 1_736_154_000_000_000_000  # 2025-01-06 09:00:00 UTC
TICKS: Final = 40_000
SEED: Final = 20250106

TABLE: Final = InstrumentTable(
    [
        Instrument(
            token=900001,
            symbol="SYNA",
            venue="SYNTHETIC",
            kind="spot",
            price_scale=2,
            quantity_scale=3,
        ),
        Instrument(
            token=900002,
            symbol="SYNB",
            venue="SYNTHETIC",
            kind="perp",
            price_scale=1,
            quantity_scale=3,
        ),
    ]
)
_START_PRICE: Final = {900001: 100_00, 900002: 50_000_0}
_FIRST_TRADE_ID: Final = {900001: 1, 900002: 700_001}
# Largest gap to the tick before, in ms, of eight equally likely kinds; the mean is 539 ms.
_GAP_MS: Final = (1, 1, 20, 100, 500, 1000, 3000, 4000)
_MS: Final = 1_000_000
_MILLION: Final = 1_000_000  # prices move in millionths of the start price
_FOLD: Final = 200_000  # and stay within a fifth of it, however many ticks are asked for
_BLOCK: Final = 256  # ticks of one instrument under one regime
_NEUTRAL: Final = (
    flag.TRADE
    | flag.NO_BID
    | flag.NO_ASK
    | flag.NO_BID_QUANTITY
    | flag.NO_ASK_QUANTITY
    | flag.NO_VOLUME
    | flag.NO_OPEN_INTEREST
)


def generate(seed: int = SEED, ticks: int = TICKS) -> tuple[InstrumentTable, npt.NDArray[Any]]:
    """Return the instrument table and `ticks` trades in arrival order, seq from 1.

    Fewer ticks of the same seed are a prefix of more.

    Args:
        seed: 0 to 2**64 - 1; the same seed gives the same bytes everywhere.
        ticks: how many, over both instruments; 40 000 span about six hours.

    Raises:
        ConfigError: a seed out of range, or fewer than one tick.

    >>> table, records = generate(seed=1, ticks=3)
    >>> [i.symbol for i in table], records["seq"].tolist()
    (['SYNA', 'SYNB'], [1, 2, 3])
    """
    if not 0 <= seed < 2**64:
        raise ConfigError(f"synthetic ticks: seed: expected 0..2**64-1, was {seed}")
    if ticks < 1:
        raise ConfigError(f"synthetic ticks: ticks: expected at least 1, was {ticks}")
    words = np.random.Philox(key=seed).random_raw(2 * ticks).reshape(ticks, 2)
    arrival, trade = words[:, 0], words[:, 1]
    records = np.zeros(ticks, TICK_DTYPE)
    records["seq"] = np.arange(1, ticks + 1)
    records["ts_event"] = START_NS + np.cumsum(_gaps_ms(arrival)) * _MS
    # Delays differ by less than a millisecond, so only ticks of one instant could change places.
    delay_ns = 250_000 + _bits(arrival, 40, 6) * 1_000
    records["ts_recv"] = np.maximum.accumulate(records["ts_event"] + delay_ns)
    records["flags"] = _NEUTRAL
    for name in ("stream", "offset"):
        records[name] = -1
    tokens = TABLE.tokens[_bits(arrival, 63, 1)]
    records["instrument_token"] = tokens
    for instrument in TABLE:
        rows = np.flatnonzero(tokens == instrument.token)
        records[rows] = _trades(records[rows], trade[rows], instrument.token, seed)
    return TABLE, records


def make_recording(path: Path, seed: int = SEED, ticks: int = TICKS) -> None:
    """Write a sealed recording of synthetic ticks; the folder must not exist yet."""
    from parity.recording.sequencer import Sequencer
    from parity.recording.writer import RecordingWriter

    table, records = generate(seed, ticks)
    records["seq"] = 0
    created_by = f"synthetic seed={seed} ticks={ticks}"
    with RecordingWriter(path, table, order="ts_recv", created_by=created_by) as writer:
        sequenced = Sequencer(table).sequence(records)
        writer.append(TickBatch.from_records(sequenced, table))


def _bits(words: Words, shift: int, count: int) -> Ints:
    return ((words >> np.uint64(shift)) & np.uint64((1 << count) - 1)).astype(np.int64)


def _gaps_ms(words: Words) -> Ints:
    limits = np.array(_GAP_MS, np.int64)[_bits(words, 0, 3)]
    return _bits(words, 3, 32) % limits


def _trades(records: npt.NDArray[Any], words: Words, token: int, seed: int) -> npt.NDArray[Any]:
    count = len(records)
    # A counter of its own for each purpose, so that asking for more ticks changes none before.
    trends, swings = (np.random.Philox(key=seed + ((2 * token + n) << 64)) for n in (0, 1))
    moves = _bits(words, 0, 16) % 81 - 40 + _drift(count, trends)
    side = 2 * _bits(words, 62, 1) - 1
    # A buyer pays the ask, a seller gets the bid: the walk itself is the mid.
    position = np.cumsum(moves) + _swing(count, swings) + 40 * side
    start = _START_PRICE[token]
    records["price_int"] = start * (_MILLION + _fold(position)) // _MILLION
    records["quantity_int"] = (1 + _bits(words, 16, 8)) * (1 + 9 * _bits(words, 24, 1))
    records["side"] = side
    records["trade_id"] = _FIRST_TRADE_ID[token] + np.arange(count)
    return records


def _fold(position: Ints) -> Ints:
    # A triangle wave: the walk is reflected at both ends, so no price ever nears zero.
    return np.abs((position + _FOLD) % (4 * _FOLD) - 2 * _FOLD) * -1 + _FOLD


def _drift(count: int, regimes: np.random.Philox) -> Ints:
    """Trends: two blocks of eight move 64 ticks by 100 to 227 millionths each, up or down."""
    words = regimes.random_raw(count // _BLOCK + 1)
    steps = np.where(_bits(words, 0, 2) == 0, 100 + _bits(words, 8, 7), 0)
    steps *= 2 * _bits(words, 3, 1) - 1
    at = np.arange(count)
    return np.where(at % _BLOCK < 64, steps[at // _BLOCK], 0)


def _swing(count: int, regimes: np.random.Philox) -> Ints:
    """Excursions that come back: a swing over a block, or a spike that dies in 16 ticks."""
    words = regimes.random_raw(count // _BLOCK + 1)
    at = np.arange(count)
    block, within = at // _BLOCK, at % _BLOCK
    heights = (1000 + _bits(words, 8, 11)) * (2 * _bits(words, 3, 1) - 1)
    kind = _bits(words, 0, 2)
    wave = 64 - np.abs(within % 128 - 64)  # 0 at both ends of the block, so nothing jumps
    spike = np.where((within >= 160) & (within < 176), 176 - within, 0)
    swung = np.where(kind == 0, heights, 0)[block] * wave // 64
    spiked = np.where(kind == 1, heights * 3, 0)[block] * spike // 16
    return np.asarray(swung + spiked)
