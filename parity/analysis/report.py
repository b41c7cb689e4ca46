"""The report of a run as plain values: what it came to, what it refused, and what proves it.

`parity report` shows it as text, as JSON or as a page. Never here: how it looks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
import polars as pl

from parity.analysis import frames, results
from parity.analysis.deliveries import deliveries_of
from parity.analysis.documents import run_json
from parity.analysis.gap import Gap, gaps_of
from parity.analysis.latency import latency_of
from parity.model.errors import ParityError
from parity.recording.reader import open_recording

if TYPE_CHECKING:
    from parity.recording.runs import RunFolder

FAILURES_SHOWN: Final = 20
PRICES_SHOWN: Final = 6


class Report(NamedTuple):
    """A report and what its pictures are drawn from.

    Args:
        values: what `--json` prints.
        curves: equity over time; empty where the recording cannot be read.
        span: ts_event of its first and last tick; None where there is none, or as above.
    """

    values: dict[str, Any]
    curves: pl.DataFrame
    span: tuple[int, int] | None


def report_of(run: RunFolder, verdict: Mapping[str, Any] | None = None) -> Report:
    """Return the report of a run, complete or open.

    Args:
        run: the run.
        verdict: what `verify` said of it last, if it did.
    """
    notes: list[str] = []
    statistics, curves = pl.DataFrame(), pl.DataFrame()
    span: tuple[int, int] | None = None
    try:
        (found,) = results.results_of([run])
        span = found.span
        statistics, curves = results.statistics(found), results.equity(found)
        notes += [
            f"{name} at {broker} came with a control that is pruned: its cash at the start, and "
            "what is a share of it, is the default"
            for name, broker in found.unknown
        ]
    except ParityError as error:
        notes.append(f"no statistics: they need the recording's prices: {error.message}")
    if run.manifest.state != "complete":
        notes.append(f"the run is open: told up to seq {run.flushed_seq()}")
    gaps: list[Gap] = []
    try:
        gaps = gaps_of(run)
    except ParityError as error:
        notes.append(f"no reality gap: it needs the recording's prices: {error.message}")
    values = {
        **run_json(run),
        "statistics": _statistics(statistics),
        "drops_by_strategy": _drops(run),
        "lifecycle": _lifecycle(run),
        "failures": _failures(run),
        "deliveries": deliveries_of(run.path),
        "reality_gap": msgspec.to_builtins(gaps),
        "latency": latency_of(run),
        "verdict": None if verdict is None else dict(verdict),
        "notes": notes,
    }
    return Report(values, curves, span)


def _statistics(frame: pl.DataFrame) -> dict[str, Any]:
    rows = [_plain(row) for row in frame.iter_rows(named=True)]
    times = Counter(row["strategy_id"] for row in rows)
    named: dict[str, Any] = {"total": None, "strategies": {}}
    for row in rows:
        strategy_id, broker = row.pop("strategy_id"), row.pop("broker")
        if strategy_id is None:
            named["total"] = row
        else:
            name = f"{strategy_id}@{broker}" if times[strategy_id] > 1 else strategy_id
            named["strategies"][name] = row
    return named


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return {n: exact_text(v) if isinstance(v, Decimal) else v for n, v in row.items()}


def exact_text(value: Decimal) -> str:
    """Return a decimal as text, without the zeros that only fill its column.

    >>> [exact_text(Decimal(text)) for text in ("39.40000", "600.000", "-0.05", "1200")]
    ['39.4', '600', '-0.05', '1200']
    """
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _drops(run: RunFolder) -> dict[str, dict[str, int]]:
    """Return by reason how often each strategy was refused, the most frequent reason first."""
    found: dict[str, dict[str, int]] = {}
    for (reason, strategy_id), count in frames.refusals(run.path).items():
        found.setdefault(reason, {})[strategy_id] = count
    return dict(sorted(found.items(), key=lambda item: -sum(item[1].values())))


def _lifecycle(run: RunFolder) -> list[dict[str, Any]]:
    """Return of each strategy its state, how often that changed, and when last."""
    moved = frames.lifecycle(run.path).filter(pl.col("kind") == "transition")
    last = moved.group_by("strategy_id", "broker", maintain_order=True).agg(
        pl.col("now").last().alias("state"), pl.len().alias("transitions"), pl.col("seq").last()
    )
    return last.sort("strategy_id", "broker").to_dicts()


def _failures(run: RunFolder) -> dict[str, Any]:
    failed = frames.failures(run.path)
    return {"count": len(failed), "first": failed.head(FAILURES_SHOWN).to_dicts()}


# -- what pictures are drawn from ------------------------------------------------------------


def instruments_shown(run: RunFolder) -> tuple[list[int], int]:
    """Return the instruments worth a picture, most candidates first, and how many more."""
    counted = frames.candidates(run.path)["instrument_token"].value_counts(sort=False)
    tokens = counted.sort(["count", "instrument_token"], descending=[True, False])
    shown = tokens["instrument_token"].head(PRICES_SHOWN).to_list()
    return shown, len(tokens) - len(shown)


def price_line(run: RunFolder, token: int) -> tuple[str, pl.DataFrame]:
    """Return an instrument's symbol, and `ts_event` and `price` of its ticks in the run.

    Where it has quotes only, the price is their mid, or the one side there is.
    """
    reference, at = run.manifest.recording, pl.col("ts_event").cast(pl.Int64)
    columns = ["ts_event", "instrument_token", "flags", "price", "bid", "ask"]
    with open_recording(run.recording_path) as recording:
        ticks = recording.ticks().select(columns).filter(pl.col("instrument_token") == token)
        if reference.start_ns is not None:
            ticks = ticks.filter(at >= reference.start_ns)
        if reference.end_ns is not None:
            ticks = ticks.filter(at < reference.end_ns)
        shown = frames.ticks(ticks, recording.table)
        symbol = recording.table.by_token(token).symbol
    if not shown["price"].count():
        mid = pl.mean_horizontal("bid", "ask")
        shown = shown.with_columns(mid.alias("price"))
    return symbol, shown.select("ts_event", "price")
