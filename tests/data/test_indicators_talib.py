"""Every indicator against TA-Lib on real ticks: to 1e-9 where the definitions agree.

Where they do not, the tests below the table show that they differ as docs/indicators.md says. What
TA-Lib has no function for is put together from what it has. Bars are of ten ticks each.
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pytest
import talib
from real_values import QUOTES, TRADES, read, values

from parity import kernels
from parity.kernels.catalogue import INDICATORS

pytestmark = [pytest.mark.data, pytest.mark.slow]

Pairs = list[tuple[Any, Any]]
MACD_STEADY = 500  # rows behind which nothing is left of where an average of 26 began


class Ticks(NamedTuple):
    """A data set: exact integers, and as floats what anybody would give TA-Lib."""

    name: str
    unit: int
    quantity_unit: int
    value_int: Any
    value: Any
    quantity_int: Any  # None for quotes
    quantity: Any
    side: Any
    bars_int: tuple[Any, Any, Any]  # high, low, close
    bars: tuple[Any, Any, Any]


@cache
def ticks_of(folder: Path, name: str) -> Ticks:
    """Return one data set."""
    frame = read(folder, name)
    value_int, unit = values(frame)
    quantity_unit, quantity_int, quantity, side = 1, None, None, None
    if name in TRADES:
        quantity_unit = 10 ** int(frame["quantity_scale"][0])
        quantity_int, side = frame["quantity_i"].to_numpy(), frame["side"].to_numpy()
        quantity = quantity_int / quantity_unit
    value = pl.col("value")
    bars = (
        pl.DataFrame({"value": value_int})
        .with_row_index("row")
        .group_by(pl.col("row") // 10, maintain_order=True)
        .agg(high=value.max(), low=value.min(), close=value.last())
    )
    high, low, close = (bars[name].to_numpy() for name in ("high", "low", "close"))
    return Ticks(
        name, unit, quantity_unit, value_int, value_int / unit, quantity_int, quantity, side,
        (high, low, close), (high / unit, low / unit, close / unit),
    )  # fmt: skip


def whole(bars: tuple[Any, Any, Any]) -> tuple[Any, Any, Any]:
    """Return integers as floats, in which equal moves are equal."""
    high, low, close = (column.astype(float) for column in bars)
    return high, low, close


def flat_share(ticks: Ticks, means: int) -> Any:
    """Return of how many of the last bars' k TA-Lib says 0 where 50 stands here, as a mean of 50s.

    `means` is how often a mean of three is taken.
    """
    share = np.where(talib.MAX(ticks.bars[0], 14) == talib.MIN(ticks.bars[1], 14), 50.0, 0.0)
    for _ in range(means):
        share = talib.SMA(share, 3)
    return share


def squared(values: Any) -> Any:
    """Return squares, 0 where there is none."""
    return np.nan_to_num(values) ** 2


def rsi(t: Ticks) -> Pairs:
    """Give RSI, with 50 where TA-Lib says 0 because nothing has moved yet."""
    still = np.where(t.value_int == t.value_int[0], 50.0, 0.0)
    yet = np.minimum.accumulate(still)
    return [(talib.RSI(t.value, 14) + yet, kernels.rsi(t.value_int, 14))]


def bands(t: Ticks) -> Pairs:
    """Give upper, middle and lower."""
    ours = kernels.bollinger(t.value_int, 20, 2.0, unit=t.unit)
    theirs = talib.BBANDS(t.value, 20, 2.0, 2.0)
    return list(zip(theirs, (ours.upper, ours.middle, ours.lower), strict=True))


def macd(t: Ticks) -> Pairs:
    """Give line, signal and histogram, where the beginning is forgotten."""
    pairs = zip(talib.MACD(t.value, 12, 26, 9), kernels.macd(t.value, 12, 26, 9), strict=True)
    return [(theirs[MACD_STEADY:], ours[MACD_STEADY:]) for theirs, ours in pairs]


def adx(t: Ticks) -> Pairs:
    """Give ADX, +DI and −DI of whole numbers, from where ours has all of them."""
    bars, ours = whole(t.bars_int), kernels.adx(*t.bars_int, 14)
    theirs = (f(*bars, 14)[27:] for f in (talib.ADX, talib.PLUS_DI, talib.MINUS_DI))
    return list(zip(theirs, (one[27:] for one in ours), strict=True))


def zscore(t: Ticks) -> Pairs:
    """Give the distance from the mean: the score times the deviation."""
    score, deviation = kernels.zscore(t.value_int, 20), kernels.rolling_std(t.value_int, 20)
    return [(t.value - talib.SMA(t.value, 20), score * deviation / t.unit)]


def stochastic(t: Ticks) -> Pairs:
    """Give %K and %D, with 50 where TA-Lib says 0 because highest and lowest are equal."""
    k, d = talib.STOCH(*t.bars, 14, 3, 0, 3, 0)
    pairs = zip((k, d), kernels.stochastic(*t.bars_int, 14, 3, 3), strict=True)
    return [(theirs + flat_share(t, n), ours) for n, (theirs, ours) in enumerate(pairs, 1)]


def volatility(t: Ticks) -> Pairs:
    """Give squares: TA-Lib's running sum of them falls below 0 at times, and has no root."""
    ours = kernels.volatility(t.value_int, 20)
    return [(talib.SUM(squared(talib.ROCP(t.value, 1)), 20)[20:], ours[20:] ** 2)]


def cvd_quote(t: Ticks) -> Pairs:
    """Give the running sum of signed notional."""
    units = {"unit": t.unit, "quantity_unit": t.quantity_unit}
    ours = kernels.cvd_quote(t.side, t.value_int, t.quantity_int, **units)
    return [(talib.CUMSUM(t.side * t.value * t.quantity), ours)]


def cvd_inverse(t: Ticks) -> Pairs:
    """Give the running sum of signed coins."""
    units = {"unit": t.unit, "quantity_unit": t.quantity_unit}
    ours = kernels.cvd_inverse(t.side, t.value_int, t.quantity_int, **units)
    return [(talib.CUMSUM(t.side * t.quantity / t.value), ours)]


AGREE: dict[str, Callable[[Ticks], Pairs]] = {
    "ema": lambda t: [(talib.EMA(t.value, 20), kernels.ema(t.value, 20))],
    "rsi": rsi,
    "macd": macd,
    "atr": lambda t: [(talib.ATR(*t.bars, 14), kernels.atr(*t.bars_int, 14, unit=t.unit))],
    "adx": adx,
    "sma": lambda t: [(talib.SMA(t.value, 20), kernels.sma(t.value_int, 20, unit=t.unit))],
    "bollinger": bands,
    "rolling_mean": lambda t: [
        (talib.SMA(t.value, 50), kernels.rolling_mean(t.value_int, 50, unit=t.unit))
    ],
    "rolling_std": lambda t: [
        (talib.STDDEV(t.value, 20), kernels.rolling_std(t.value_int, 20, unit=t.unit))
    ],
    "zscore": zscore,
    "rolling_min": lambda t: [
        (talib.MIN(t.value, 20), kernels.rolling_min(t.value_int, 20, unit=t.unit))
    ],
    "rolling_max": lambda t: [
        (talib.MAX(t.value, 20), kernels.rolling_max(t.value_int, 20, unit=t.unit))
    ],
    "donchian": lambda t: list(
        zip(
            talib.DONCHIAN(*t.bars[:2], 20),
            kernels.donchian(*t.bars_int[:2], 20, unit=t.unit),
            strict=True,
        )
    ),
    "stochastic": stochastic,
    "roc": lambda t: [(talib.ROCP(t.value, 10), kernels.roc(t.value_int, 10))],
    "volatility": volatility,
    "vwap": lambda t: [
        (
            talib.VWAP(t.value, t.value, t.value, t.quantity),
            kernels.vwap(t.value_int, t.quantity_int, unit=t.unit),
        )
    ],
    "obv": lambda t: [
        (
            talib.OBV(t.value, t.quantity) - t.quantity[0],
            kernels.obv(t.value_int, t.quantity_int, quantity_unit=t.quantity_unit),
        )
    ],
    "cvd": lambda t: [
        (
            talib.CUMSUM(t.side * t.quantity),
            kernels.cvd(t.side, t.quantity_int, quantity_unit=t.quantity_unit),
        )
    ],
    "cvd_quote": cvd_quote,
    "cvd_inverse": cvd_inverse,
}
FLOWS = {"vwap", "obv", "cvd", "cvd_quote", "cvd_inverse"}  # of trades only


def test_every_indicator_is_compared() -> None:
    """None is left out of the table."""
    assert set(AGREE) == set(INDICATORS)


@pytest.mark.parametrize("name", AGREE)
def test_talib_says_the_same(name: str, shared_data: Path) -> None:
    """On every data set: values in the same rows, equal to 1e-9 of the value and of the largest."""
    compared = 0
    for one in TRADES if name in FLOWS else (*TRADES, *QUOTES):
        ticks = ticks_of(shared_data, one)
        for theirs, ours in AGREE[name](ticks):
            largest = np.nanmax(np.abs(ours))
            np.testing.assert_allclose(
                theirs, ours, rtol=1e-9, atol=1e-9 * largest, err_msg=ticks.name
            )
            compared += int((~np.isnan(ours)).sum())

    assert compared > 20_000


def test_macd_starts_its_fast_average_earlier(shared_data: Path) -> None:
    """TA-Lib leaves out the first slow − fast values for it; then all is as there."""
    price = ticks_of(shared_data, "binance_usdm_BTCUSDT_20240808_trades").value
    late = np.concatenate((np.full(14, np.nan), kernels.ema(price[14:], 12)))

    theirs, ours = talib.MACD(price, 12, 26, 9)[0], kernels.macd(price, 12, 26, 9).line

    np.testing.assert_allclose(theirs[33:], (late - kernels.ema(price, 26))[33:], atol=1e-9)
    assert abs(theirs[33] - ours[33]) > 1e-4


def test_what_is_0_by_0_is_said_in_two_ways() -> None:
    """RSI, stochastic and ROC where nothing moved, or what was there before is 0."""
    still, zeros = np.full(30, 5.0), np.array([0.0, 0.0, 3.0, 4.0])

    assert (0.0, 50.0) == (talib.RSI(still, 14)[-1], kernels.rsi(still, 14)[-1])
    assert 0.0 == talib.STOCH(still, still, still, 14, 3, 0, 3, 0)[0][-1]
    assert 50.0 == kernels.stochastic(still, still, still, 14, 3, 3).k[-1]
    assert 0.0 == talib.ROCP(zeros, 2)[2]
    assert np.isnan(kernels.roc(zeros, 2)[2])


def test_floats_of_decimals_make_equal_moves_unequal(shared_data: Path) -> None:
    """On SPY's cents TA-Lib's ADX is off by points, and of whole cents by nothing."""
    ticks = ticks_of(shared_data, "us_SPY_20131007_trades")
    ours = kernels.adx(*ticks.bars_int, 14).adx

    assert np.nanmax(np.abs(talib.ADX(*ticks.bars, 14) - ours)) > 5
    assert np.nanmax(np.abs(talib.ADX(*whole(ticks.bars_int), 14) - ours)) < 1e-9


def test_obv_and_directions_begin_elsewhere(shared_data: Path) -> None:
    """TA-Lib's OBV begins with the first quantity; its ±DI come before its ADX, ours with it."""
    ticks = ticks_of(shared_data, "us_IBM_20131007_trades")
    directions, ours = talib.PLUS_DI(*whole(ticks.bars_int), 14), kernels.adx(*ticks.bars_int, 14)

    assert ticks.quantity[0] == talib.OBV(ticks.value, ticks.quantity)[0]
    assert 0.0 == kernels.obv(ticks.value_int, ticks.quantity_int)[0]
    assert (14, 27) == tuple(int((~np.isnan(one)).argmax()) for one in (directions, ours.plus))
