"""What a sweep came to: its variants in one table, their statistics from one reading.

Never here: how variants are run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import msgspec
import polars as pl

from parity.analysis import results
from parity.analysis.frames import exact_column
from parity.analysis.report import exact_text

if TYPE_CHECKING:
    from parity.recording.runs import RunFolder

SHOWN: Final = (
    "signals",
    "drops",
    "fills",
    "pnl",
    "max_drawdown",
    "max_drawdown_fraction",
    "trades",
    "hit_rate",
)
_DTYPES: Final = {bool: pl.Boolean, int: pl.Int64, float: pl.Float64, str: pl.String}
_INT64: Final = range(-(2**63), 2**63)


def compared(runs: Sequence[RunFolder]) -> list[dict[str, Any]]:
    """Return the statistics of each run's total, money as Decimal."""
    return [results.statistic(found, None) for found in results.results_of(runs)]


def sweep_frame(
    values: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]], runs: Sequence[str]
) -> pl.DataFrame:
    """Return one row for each variant: the values set, SHOWN of its total, and its run.

    Args:
        values: what was set, by name, as Python has it.
        rows: statistics, as compared() gives them.
        runs: folders.
    """
    columns = [_values(name, [v[name] for v in values]) for name in values[0]]
    for name in SHOWN:
        found = [row[name] for row in rows]
        if name in results.MONEY:
            columns.append(exact_column(name, found))
        else:
            kind = pl.Int64() if name in results.COUNTS else pl.Float64()
            columns.append(pl.Series(name, found, kind))
    return pl.DataFrame([*columns, pl.Series("run", list(runs), pl.String)])


def _values(name: str, values: Sequence[Any]) -> pl.Series:
    """Return values of one type as they are, of int and float as floats, of others as JSON.

    Integers that 64 bits, or a float, cannot hold are others.
    """
    given = [value for value in values if value is not None]
    kinds = {type(value) for value in given}
    for type_, dtype in _DTYPES.items():
        if kinds == {type_} and (type_ is not int or all(v in _INT64 for v in given)):
            return pl.Series(name, values, dtype)
    if kinds == {int, float}:
        with suppress(OverflowError):
            return pl.Series(name, [None if v is None else float(v) for v in values], pl.Float64)
    texts = [None if v is None else msgspec.json.encode(v).decode() for v in values]
    return pl.Series(name, texts, pl.String)


def variant_json(
    values: Mapping[str, Any], row: Mapping[str, Any], run: RunFolder
) -> dict[str, Any]:
    """Return a variant as plain values, money as text."""
    report = run.manifest.report
    assert report is not None, "a sweep returns complete runs only"
    shown = {name: row[name] for name in SHOWN}
    return {
        "set": dict(values),
        **{n: exact_text(v) if n in results.MONEY else v for n, v in shown.items()},
        "digests": {"candidates": report.candidate_digest, "decisions": report.decision_digest},
        "run": str(run.path),
        "skipped": run.manifest.skipped,
    }
