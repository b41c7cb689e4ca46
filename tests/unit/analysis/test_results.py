"""What a run came to, on a market of eight ticks that was worked out by hand."""

from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

import parity as pt
from parity.analysis.results import results_of

D = Decimal
PRICES = ("100", "100", "110", "90", "120", "130", "80", "80")
STRATEGY = """
import parity as pt

@pt.strategy("script", history=1)
def script(tick, history, *, says="B..S..B.", quantity=2):
    word = says[tick.ts_event // 1_000_000_000 % 10]
    if word != ".":
        return pt.SignalResult({"B": "BUY", "S": "SELL"}[word], 0.5, quantity, tick.price)
"""
FREE = ("paper.slippage=0",)


def market(folder: Path, prices: tuple[str, ...] = PRICES) -> Path:
    """Make a recording of one instrument, a tick each second."""
    rows = [f"2025-01-06T09:00:0{at}Z,7,{price},1" for at, price in enumerate(prices)]
    csv = folder / "ticks.csv"
    csv.write_text("ts_event,instrument_token,price,quantity\n" + "\n".join(rows) + "\n")
    pt.import_ticks(csv, to=folder / "recording")
    (folder / "script.py").write_text(STRATEGY)
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> pt.Run:
    """The run: a round trip that gains, and a position that stays."""
    folder = market(tmp_path_factory.mktemp("results"))
    return pt.backtest(folder / "recording", folder / "script.py", overrides=FREE)


def test_statistics_are_those_worked_out_by_hand(run: pt.Run) -> None:
    """Two bought at 100 and sold at 120, two bought at 80; 0.1 % commission on each."""
    row, total = run.statistics.rows(named=True)
    expected = {
        "strategy_id": "script",
        "broker": "paper",
        "signals": 3,
        "drops": 0,
        "fills": 3,
        "pnl": D("39.40"),
        "realised": D("39.40"),
        "unrealised": D(0),  # two bought at 80, worth 80
        "commission": D("0.60"),
        "max_drawdown": D(40),  # from 1000019.8 at 110 to 999979.8 at 90
        "max_drawdown_fraction": pytest.approx(40 / 1_000_019.8),
        "trades": 1,
        "wins": 1,
        "hit_rate": 1.0,
        "notional": D(600),
        "turnover": pytest.approx(0.0006),
        "exposure": pytest.approx((200 + 220 + 180) / 7 / 1_000_000),
        "time_in_market": pytest.approx(3 / 7),
    }

    assert expected == row
    assert expected | {"strategy_id": None, "broker": None} == total
    assert D(run.summary()["strategies"]["script"]["pnl"]) == row["pnl"]


def test_positions_follow_the_fills(run: pt.Run) -> None:
    """After each fill: what is held, at what average price, what was realised, and the cash."""
    wanted = ["seq", "side", "position", "entry_price", "realised", "cash"]

    assert [
        (2, "BUY", D(2), 100.0, D("-0.2"), D("999799.8")),
        (5, "SELL", D(0), None, D("39.56"), D("1000039.56")),
        (8, "BUY", D(2), 80.0, D("39.40"), D("999879.40")),
    ] == run.positions.select(wanted).rows()
    (trade,) = run.trades.rows(named=True)
    assert (2, 5, "BUY", D(2)) == (
        *(trade["opened_seq"], trade["closed_seq"], trade["side"], trade["quantity"]),
    )
    assert pytest.approx(39.56) == trade["profit"]


def test_equity_has_every_fill_and_the_total(run: pt.Run) -> None:
    """With more stretches than ticks every tick is a point."""
    own = run.equity.filter(pl.col("strategy_id") == "script")
    cents = ("1000000", "999999.8", "1000019.8", "999979.8", *["1000039.56"] * 3, "1000039.40")

    assert list(map(D, cents)) == own["equity"].to_list()
    assert [1, 2, 3, 4, 5, 6, 7, 8] == own["seq"].to_list()
    assert ["start", "fill", "grid", "grid", "fill", "grid", "grid", "fill"] == own[
        "point"
    ].to_list()
    assert [D(one) for one in (0, 0, 20, -20, 0, 0, 0, 0)] == own["unrealised"].to_list()
    assert own["equity"].equals(run.equity.filter(pl.col("strategy_id").is_null())["equity"])


def test_a_coarse_grid_keeps_the_drawdown(run: pt.Run) -> None:
    """One stretch for the whole run has its extremes, and so the same deepest fall."""
    (results,) = results_of([run.folder], stretches=1)
    points = results.accounts[None].points

    assert [1, 2, 3, 4, 5, 8] == [p.seq for p in points]
    assert ["start", "fill", "extreme", "extreme", "fill", "fill"] == [p.point for p in points]


def test_columns_have_their_documented_types(run: pt.Run) -> None:
    """Money is Decimal with the decimals it needs, times are ns UTC, seq is unsigned."""
    frames = {"positions": run.positions, "equity": run.equity}
    for name, money in (("positions", ("realised", "cash")), ("equity", ("cash", "unrealised"))):
        schema = frames[name].schema
        assert pl.UInt64 == schema["seq"]
        assert pl.Datetime("ns", "UTC") == schema["ts_event"]
        assert all(isinstance(schema[column], pl.Decimal) for column in money)
        assert 38 == schema["cash"].precision  # type: ignore[attr-defined] # of a Decimal
    assert pl.Float64 == run.positions.schema["entry_price"]


def test_a_run_without_ticks_or_signals_has_empty_results(tmp_path: Path) -> None:
    """Nothing said is no trade, no hit rate, and a PnL of exactly 0; no tick is no curve."""
    folder = market(tmp_path)
    silent = pt.backtest(
        folder / "recording", folder / "script.py", overrides=("says=........",)
    ).statistics.row(0, named=True)
    none = pt.backtest(folder / "recording", folder / "script.py", start=2_000_000_000 * 10**9)

    assert (0, D(0), D(0), None, 0.0) == (
        silent["trades"],
        silent["pnl"],
        silent["max_drawdown"],
        silent["hit_rate"],
        silent["time_in_market"],
    )
    assert (D(0), None, None) == none.statistics.select("pnl", "exposure", "hit_rate").row(0)
    assert 0 == len(none.equity)


def test_a_short_position_gains_when_prices_fall(tmp_path: Path) -> None:
    """Sold at 120 and again at 80: the average entry is 100, and 80 is what it brought so far."""
    folder = market(tmp_path)
    run = pt.backtest(
        folder / "recording",
        folder / "script.py",
        overrides=(*FREE, "paper.commission=0", "paper.allow_short=true", "says=...S.S.."),
    )

    assert [(D(-2), 120.0), (D(-4), 100.0)] == run.positions.select(
        "position", "entry_price"
    ).rows()
    assert [] == run.trades.rows()
    assert (D(80), D(0), D(80)) == run.statistics.select("pnl", "realised", "unrealised").row(0)
    own = run.equity.filter(pl.col("strategy_id") == "script")["unrealised"]
    assert [D(one) for one in (0, 0, 0, 0, 0, -20, 80, 80)] == own.to_list()
