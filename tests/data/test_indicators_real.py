"""Sums of real trades against fractions, at every prefix, on every shared recording."""

import json
import math
from fractions import Fraction
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from real_values import QUOTES, TRADES, read, values

from parity import kernels

pytestmark = [pytest.mark.data, pytest.mark.slow]


def trades(folder: Path, name: str) -> tuple[pl.DataFrame, dict[str, Any]]:
    """Return the trades of a file, and what the reference says of them."""
    reference = json.loads((folder / "REFERENCE.json").read_text("utf-8"))[name]
    return read(folder, name), reference


def quotients(numerators: Any, denominators: Any) -> list[float]:
    """Divide unbounded integers, each quotient rounded once."""
    pairs = zip(numerators, denominators, strict=True)
    return [float(Fraction(n, d)) if d else math.nan for n, d in pairs]


@pytest.mark.parametrize("name", TRADES)
def test_sums_equal_fractions_at_every_prefix(shared_data: Path, name: str) -> None:
    """SMA, rolling mean, VWAP and CVD are the float64 nearest to the truth in every row."""
    ticks, known = trades(shared_data, name)
    unit, quantity_unit = 10 ** known["price_scale"], 10 ** known["quantity_scale"]
    prices, quantities, sides = (ticks[c].to_list() for c in ("price_i", "quantity_i", "side"))
    notional = [p * q for p, q in zip(prices, quantities, strict=True)]
    base = list(accumulate(s * q for s, q in zip(sides, quantities, strict=True)))
    quote = list(accumulate(s * n for s, n in zip(sides, notional, strict=True)))
    sums = list(accumulate(prices, initial=0))
    windows = [b - a for a, b in zip(sums, sums[50:], strict=False)]
    units = {"unit": unit, "quantity_unit": quantity_unit}

    mean = quotients([0] * 49 + windows, [0] * 49 + [50 * unit] * len(windows))
    vwap = quotients(accumulate(notional), [q * unit for q in accumulate(quantities)])
    cvd = quotients(base, [quantity_unit] * len(base))
    cvd_quote = quotients(quote, [unit * quantity_unit] * len(quote))
    truth = (
        (mean, kernels.sma(prices, 50, unit=unit)),
        (mean, kernels.rolling_mean(prices, 50, unit=unit)),
        (vwap, kernels.vwap(prices, quantities, unit=unit)),
        (cvd, kernels.cvd(sides, quantities, quantity_unit=quantity_unit)),
        (cvd_quote, kernels.cvd_quote(sides, prices, quantities, **units)),
    )

    for expected, found in truth:
        np.testing.assert_array_equal(np.array(expected), found)
    assert known["rows"] == len(prices) > 50
    if any(sides):  # the shares' trades have no aggressor
        assert (known["cvd_base_i"], known["cvd_quote_i"]) == (base[-1], quote[-1])


@pytest.mark.parametrize("name", QUOTES)
def test_means_of_quotes_equal_fractions_at_every_prefix(shared_data: Path, name: str) -> None:
    """SMA and rolling mean of the mids, which half a unit of the price is exact for."""
    value_int, unit = values(read(shared_data, name))
    sums = list(accumulate(value_int.tolist(), initial=0))
    windows = [b - a for a, b in zip(sums, sums[50:], strict=False)]
    mean = np.array(quotients([0] * 49 + windows, [0] * 49 + [50 * unit] * len(windows)))

    assert len(windows) > 10_000
    np.testing.assert_array_equal(mean, kernels.sma(value_int, 50, unit=unit))
    np.testing.assert_array_equal(mean, kernels.rolling_mean(value_int, 50, unit=unit))


def test_every_data_set_is_held_against_fractions(shared_data: Path) -> None:
    """No file of the shared data is left out of this and of TA-Lib's table."""
    assert {*TRADES, *QUOTES} == {path.stem for path in shared_data.glob("*.parquet")}


@pytest.mark.parametrize("name", TRADES)
def test_floats_of_a_frame_are_the_same_numbers(shared_data: Path, name: str) -> None:
    """The price as text, read as float64 by anybody, gives the same bits without a unit."""
    ticks, known = trades(shared_data, name)
    price, quantity = (ticks[c].cast(pl.Float64) for c in ("price", "quantity"))

    expected = kernels.vwap(ticks["price_i"], ticks["quantity_i"], unit=10 ** known["price_scale"])

    np.testing.assert_array_equal(expected, kernels.vwap(price, quantity))


def seeded(values: Any, window: int, alpha: float) -> Any:
    """Smooth with pandas, begun with the mean of the first `window` values."""
    begun = pd.Series([values[:window].mean(), *values[window:]])
    return begun.ewm(alpha=alpha, adjust=False).mean().to_numpy()


@pytest.mark.parametrize("name", TRADES)
def test_other_libraries_agree_where_the_definitions_do(shared_data: Path, name: str) -> None:
    """To 1e-9: polars' rolling windows, and Wilder's and exponential averages by pandas."""
    price = trades(shared_data, name)[0]["price"].cast(pl.Float64)
    values = price.to_numpy()
    change = np.diff(values)
    up, down = (seeded(part, 14, 1 / 14) for part in (change.clip(0), (-change).clip(0)))
    moving = up + down > 0
    pairs = (
        (price.rolling_mean(20), kernels.rolling_mean(price, 20)),
        (price.rolling_std(20, ddof=0), kernels.rolling_std(price, 20)),
        (price.rolling_min(20), kernels.rolling_min(price, 20)),
        (price.rolling_max(20), kernels.rolling_max(price, 20)),
        (price.pct_change(10), kernels.roc(price, 10)),
        (seeded(values, 20, 2 / 21), kernels.ema(price, 20)[19:]),
        (100 * up[moving] / (up + down)[moving], kernels.rsi(price, 14)[14:][moving]),
    )

    assert moving.sum() > 50
    for theirs, ours in pairs:
        size = np.nanmax(np.abs(ours))
        np.testing.assert_allclose(np.array(theirs), ours, rtol=1e-9, atol=1e-9 * size)


def test_an_inverse_contract_has_its_quantity_in_quote_currency(shared_data: Path) -> None:
    """Contracts of 100 USD: the quote sum is exact, the base sum near the true one."""
    ticks, known = trades(shared_data, TRADES[0])
    prices, quantities, sides = (ticks[c].to_list() for c in ("price_i", "quantity_i", "side"))
    unit = 10 ** known["price_scale"]
    rows = zip(sides, quantities, prices, strict=True)
    coins = sum(Fraction(s * q * 100 * unit, p) for s, q, p in rows)

    quote = kernels.cvd(sides, quantities, contract_size=100)
    base = kernels.cvd_inverse(sides, prices, quantities, contract_size=100, unit=unit)

    assert 100 * known["cvd_base_i"] == quote[-1]
    assert abs(base[-1] - coins) < Fraction(1, 10**9)


@pytest.mark.parametrize("name", TRADES)
def test_bars_are_those_of_polars(shared_data: Path, name: str) -> None:
    """By time, ticks and volume: trades in order, grouped by anybody, give the same bars."""
    ticks, known = trades(shared_data, name)
    unit, quantity_unit = 10 ** known["price_scale"], 10 ** known["quantity_scale"]
    given = [ticks[c] for c in ("ts_event", "price_i", "quantity_i", "side")]
    units = {"unit": unit, "quantity_unit": quantity_unit}
    total = int(ticks["quantity_i"].sum())
    volume = max(1, total // 200)
    numbers = {
        "time_bars": ticks["ts_event"] // (5 * 10**9),
        "tick_bars": pl.Series(np.arange(len(ticks)) // 60),
        "volume_bars": pl.Series(by_volume(ticks["quantity_i"].to_list(), volume)),
    }
    parameters = {"seconds": 5}, {"ticks": 60}, {"volume": Fraction(volume, quantity_unit)}
    price, quantity = pl.col("price_i"), pl.col("quantity_i")
    for (rule, number), named in zip(numbers.items(), parameters, strict=True):
        grouped = ticks.group_by(number.alias("number"), maintain_order=True).agg(
            open=price.first(),
            high=price.max(),
            low=price.min(),
            close=price.last(),
            count=pl.len(),
            volume=quantity.sum(),
            buy=quantity.filter(pl.col("side") > 0).sum(),
        )
        bars = getattr(kernels, rule)(*given, **units, **named)

        assert 0 == bars.left_out
        assert len(bars.start) > 30
        for column in grouped.columns[1:]:
            of = {"count": 1, "volume": quantity_unit, "buy": quantity_unit}.get(column, unit)
            # polars divides by a number as a product with its inverse, which is another float
            expected = grouped[column][: len(bars.start)].to_numpy() / of
            np.testing.assert_array_equal(expected, getattr(bars, column))
        assert 0 <= len(grouped) - len(bars.start) <= 1


def by_volume(quantities: list[int], least: int) -> list[int]:
    """Number each trade's bar."""
    numbers, number, inside = [], 0, 0
    for quantity in quantities:
        numbers.append(number)
        inside += quantity
        if inside >= least:
            number, inside = number + 1, 0
    return numbers
