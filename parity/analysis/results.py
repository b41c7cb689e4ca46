"""What a run came to: positions, trades, equity and statistics of each strategy and in total.

Everything is worked out from the run's records and the ticks of its recording; nothing is rounded
before it is shown. Never here: how it is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import polars as pl

from parity.analysis import frames
from parity.analysis.books import ZERO, Book, Key, books_of
from parity.analysis.equity import COLUMNS, POINTS, Account, Grid, drawdown, trace
from parity.analysis.frames import INSTANT, SIDE, exact_column
from parity.core.money import WIDE
from parity.model.errors import RecordingCorrupt
from parity.model.values import SIDE_NAMES
from parity.proof.replayer import run_events
from parity.recording.reader import open_recording

if TYPE_CHECKING:
    from decimal import Decimal

    from parity.model.events import Control
    from parity.model.instruments import InstrumentTable
    from parity.recording.reader import Recording
    from parity.recording.runs import RunFolder

STRETCHES: Final = 400  # of the grid: a screen is a few hundred pixels wide
COUNTS: Final = ("signals", "drops", "fills", "trades", "wins")
FLOAT: Final = pl.Float64()
_AT: Final = pl.col("ts_event").cast(pl.Int64)
MONEY: Final = ("pnl", "realised", "unrealised", "commission", "notional", "max_drawdown")


class Results(NamedTuple):
    """Books and curves of a run; an account of None is the total.

    `unknown` are those whose cash at the start is the default, as nothing says it any more; `span`
    is as `span_of` gives it.
    """

    run: RunFolder
    books: list[Book]
    accounts: dict[Key | None, Account]
    unknown: list[Key]
    span: tuple[int, int] | None


def results_of(runs: Sequence[RunFolder], stretches: int = STRETCHES) -> list[Results]:
    """Work out several runs over the same ticks, which are read once.

    Args:
        runs: of one recording and one slice of it.
        stretches: of the grid of the curves.

    Raises:
        RecordingCorrupt: a part of the recording cannot be read, or is not as it was.
        RecordingMissing: the recording, or one of its parts, is not there.
    """
    first = runs[0]
    with open_recording(first.recording_path) as recording:
        table, controls = recording.table, cache(recording.controls)
        span = _span(first, recording)
        found = [_booked(run, table, controls, span) for run in runs]
        accounts = [account for one in found for account in one.accounts.values()]
        if span is not None:
            grid = Grid.over(*span, stretches)
            trace(accounts, run_events(first, recording, COLUMNS), table, grid)
    return found


def _booked(
    run: RunFolder,
    table: InstrumentTable,
    controls: Callable[[], Sequence[Control]],
    span: tuple[int, int] | None,
) -> Results:
    unknown: list[Key] = []
    began = cache(lambda: frames.began(run.path))  # of a run without added ones not read at all

    def added(key: Key) -> Mapping[str, Any] | None:
        found = _added(key, began().get(key), controls())
        if found is None:
            unknown.append(key)
        return found

    books = books_of(run.manifest, table, frames.filled_rows(run.path), added)
    accounts: dict[Key | None, Account] = {b.key: Account([b], table) for b in books}
    accounts[None] = Account(books, table)
    return Results(run, books, accounts, unknown, span)


def _added(key: Key, began: int | None, controls: Sequence[Control]) -> Mapping[str, Any] | None:
    """Return the parameters of a strategy as its control gave them; None where that is pruned."""
    for control in controls:
        # One that was refused has no executor that began with it.
        if control.verb == "strategy_added" and control.seq == began:
            config = (control.detail.get("strategy") or {}).get("config", {})
            given: Mapping[str, Any] = config.get("parameters") or {}
            if config.get("strategy_id") == key[0] and key[1] in config.get("active_brokers", ()):
                return given
    return None


def span_of(run: RunFolder) -> tuple[int, int] | None:
    """Return the least and the largest ts_event of the ticks a run saw, ns UTC.

    None where it saw none.

    Raises:
        RecordingCorrupt: a part of its recording cannot be read, or is not as it was.
        RecordingMissing: the recording, or one of its parts, is not there.
    """
    with open_recording(run.recording_path) as recording:
        return _span(run, recording)


def newest_of(run: RunFolder, until: int) -> dict[int, int]:
    """Return by instrument the largest ts_event of the ticks a run saw up to a seq, ns UTC.

    Raises:
        RecordingCorrupt: a part of its recording cannot be read, or is not as it was.
        RecordingMissing: the recording, or one of its parts, is not there.
    """
    with open_recording(run.recording_path) as recording:
        ticks = _seen(run, recording).filter(pl.col("seq") <= until)
        newest = ticks.group_by("instrument_token").agg(_AT.max())
        return dict(_collected(newest, recording).iter_rows())


def _span(run: RunFolder, recording: Recording) -> tuple[int, int] | None:
    ends = _seen(run, recording).select(_AT.min().alias("first"), _AT.max().alias("last"))
    first, last = _collected(ends, recording).row(0)
    return None if first is None else (first, last)


def _seen(run: RunFolder, recording: Recording) -> pl.LazyFrame:
    """Return the ticks of a run's part of its recording."""
    reference, ticks = run.manifest.recording, recording.ticks()
    if reference.instruments is not None:
        ticks = ticks.filter(pl.col("instrument_token").is_in(list(reference.instruments)))
    if reference.start_ns is not None:
        ticks = ticks.filter(_AT >= reference.start_ns)
    if reference.end_ns is not None:
        ticks = ticks.filter(_AT < reference.end_ns)
    return ticks


def _collected(frame: pl.LazyFrame, recording: Recording) -> pl.DataFrame:
    try:
        return frame.collect()
    except (pl.exceptions.PolarsError, OSError) as error:
        recording.check_files()  # names the part and its hashes
        raise RecordingCorrupt(f"{recording.path}: {error}") from None


# -- frames ----------------------------------------------------------------------------------


def positions(results: Results) -> pl.DataFrame:
    """Return what was held after each fill, in the order of the fills."""
    rows = [(b.key, e) for b in results.books for e in b.entries]
    rows.sort(key=lambda row: (row[1].seq, row[0]))
    entries = [entry for _, entry in rows]
    return pl.DataFrame(
        [
            pl.Series("seq", [e.seq for e in entries], pl.UInt64),
            pl.Series("ts_event", [e.ts_event for e in entries], pl.Int64).cast(INSTANT),
            pl.Series("strategy_id", [key[0] for key, _ in rows], pl.String),
            pl.Series("broker", [key[1] for key, _ in rows], pl.String),
            pl.Series("instrument_token", [e.instrument_token for e in entries], pl.Int64),
            pl.Series("side", [SIDE_NAMES[e.side] for e in entries], SIDE),
            exact_column("position", [e.position for e in entries]),
            pl.Series("entry_price", [e.entry_price for e in entries], FLOAT),
            exact_column("realised", [e.realised for e in entries]),
            exact_column("cash", [e.cash for e in entries]),
        ]
    )


def trades(results: Results) -> pl.DataFrame:
    """Return the closed round trips in the order they closed."""
    found = sorted((t for b in results.books for t in b.trades), key=lambda t: t.closed_seq)
    return pl.DataFrame(
        [
            pl.Series("strategy_id", [t.strategy_id for t in found], pl.String),
            pl.Series("broker", [t.broker for t in found], pl.String),
            pl.Series("instrument_token", [t.instrument_token for t in found], pl.Int64),
            pl.Series("side", [SIDE_NAMES[t.side] for t in found], SIDE),
            exact_column("quantity", [t.quantity for t in found]),
            pl.Series("opened_seq", [t.opened_seq for t in found], pl.UInt64),
            pl.Series("closed_seq", [t.closed_seq for t in found], pl.UInt64),
            pl.Series("opened", [t.opened_ns for t in found], pl.Int64).cast(INSTANT),
            pl.Series("closed", [t.closed_ns for t in found], pl.Int64).cast(INSTANT),
            pl.Series("profit", [float(t.profit) for t in found], FLOAT),
        ]
    )


def equity(results: Results) -> pl.DataFrame:
    """Return the curves, one strategy after the other; the total's strategy_id and broker are null.

    `ts_event` is the largest so far at that tick.
    """
    rows = [(key, point) for key, a in results.accounts.items() for point in a.points]
    points = [point for _, point in rows]
    return pl.DataFrame(
        [
            *_names([key for key, _ in rows]),
            pl.Series("seq", [p.seq for p in points], pl.UInt64),
            pl.Series("ts_event", [p.clock_ns for p in points], pl.Int64).cast(INSTANT),
            pl.Series("point", [p.point for p in points], pl.Enum(POINTS)),
            exact_column("cash", [p.cash for p in points]),
            exact_column("value", [p.value for p in points]),
            exact_column("unrealised", [p.unrealised for p in points]),
            exact_column("equity", [p.equity for p in points]),
        ]
    )


def statistics(results: Results) -> pl.DataFrame:
    """Return one row of statistics for each strategy, and last the total, named by nulls."""
    kinds = frames.kinds(results.run.path)
    rows = [statistic(results, key, kinds) for key in results.accounts]
    columns = _names(list(results.accounts))
    for name in rows[0]:
        values = [row[name] for row in rows]
        if name in MONEY:
            columns.append(exact_column(name, values))
        else:
            counted = name in COUNTS
            columns.append(pl.Series(name, values, pl.Int64() if counted else FLOAT))
    return pl.DataFrame(columns)


def statistic(
    results: Results, key: Key | None, kinds: Mapping[Key, Mapping[str, int]] | None = None
) -> dict[str, Any]:
    """Return the statistics of one strategy, or of all of them; money as Decimal.

    Definitions are in docs/results.md. `kinds` are frames.kinds() of the run, where they are known.
    """
    kinds = frames.kinds(results.run.path) if kinds is None else kinds
    account = results.accounts[key]
    closed = [t for book in account.books for t in book.trades]
    wins = sum(t.profit > 0 for t in closed)
    began = _total(b.start for b in account.books)
    notional = _total(b.notional for b in account.books)
    fall = drawdown(account.points)
    last = account.points[-1] if account.points else None
    pnl = ZERO if last is None else WIDE.subtract(last.equity, began)
    unrealised = ZERO if last is None else last.unrealised
    span = account.all_ns
    return {
        **_counts(kinds, [b.key for b in account.books]),
        "fills": sum(len(b.entries) for b in account.books),
        "pnl": pnl,
        "realised": WIDE.subtract(pnl, unrealised),
        "unrealised": unrealised,
        "commission": _total(b.portfolio.commissions for b in account.books),
        "max_drawdown": fall.amount,
        "max_drawdown_fraction": fall.fraction,
        "trades": len(closed),
        "wins": wins,
        "hit_rate": _share(wins, len(closed)),
        "notional": notional,
        "turnover": _share(float(notional), float(began)),
        "exposure": _share(account.exposed, span * float(began)),
        "time_in_market": _share(account.held_ns, span),
    }


def _counts(kinds: Mapping[Key, Mapping[str, int]], keys: Iterable[Key]) -> dict[str, int]:
    of = [kinds.get(key, {}) for key in keys]
    return {
        "signals": sum(one.get("approved", 0) for one in of),
        "drops": sum(one.get("dropped", 0) + one.get("refused", 0) for one in of),
    }


def _share(amount: float, whole: float) -> float | None:
    return amount / whole if whole else None


def _total(amounts: Iterable[Decimal]) -> Decimal:
    total = ZERO
    for amount in amounts:
        total = WIDE.add(total, amount)
    return total


def _names(keys: Sequence[Key | None]) -> list[pl.Series]:
    return [
        pl.Series(name, [None if key is None else key[at] for key in keys], pl.String)
        for at, name in enumerate(("strategy_id", "broker"))
    ]
