"""The shared data sets by name, and as columns of exact integers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import polars as pl

if TYPE_CHECKING:
    from pathlib import Path

TRADES: Final = (
    "binance_coinm_BTCUSD_PERP_20240808_trades",
    "binance_spot_BTCUSDT_20240808_trades",
    "binance_spot_BTCUSDT_20240809_trades",
    "binance_spot_LTCUSDT_20250621_trades",
    "binance_usdm_BTCUSDT_20240808_trades",
    "us_IBM_20131007_trades",
    "us_SPY_20131007_trades",
    "us_SPY_20131008_trades",
)
QUOTES: Final = (
    "binance_coinm_BTCUSD_PERP_20240808_quotes",
    "binance_spot_BTCUSDT_20240808_quotes",
    "binance_spot_BTCUSDT_20240809_quotes",
    "binance_usdm_BTCUSDT_20240808_quotes",
    "fxcm_EURUSD_20140501_20140505_quotes",
    "us_IBM_20131007_quotes",
)


def read(folder: Path, name: str) -> pl.DataFrame:
    """Return a data set's rows."""
    return pl.read_parquet(folder / f"{name}.parquet")


def values(frame: pl.DataFrame) -> tuple[Any, int]:
    """Return exact integers and their unit: prices of trades, mids of quotes.

    Where no quote has two sides, as IBM's, its bids.
    """
    unit = 10 ** int(frame["price_scale"][0])
    if "price_i" in frame.columns:
        return frame["price_i"].to_numpy(), unit
    both = frame.drop_nulls(["bid_i", "ask_i"])
    if both.is_empty():
        return frame["bid_i"].drop_nulls().to_numpy(), unit
    return (both["bid_i"] + both["ask_i"]).to_numpy(), 2 * unit
