"""How a run is shown to a person: strategies as rows, and what went wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from parity.cli.console import counted, grouped, show, table_of, width
from parity.model.errors import ParityError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from parity.core.engine import ExecutorReport, RunReport
    from parity.recording.runs import RunFolder

_DIGEST_SHOWN = 12
_TROUBLE = ("ERROR", "PAUSED")
_DAYS_SHOWN = 14
_WIDE = 96  # columns for both digests


def show_run(run: RunFolder) -> None:
    """Show a run's manifest to a person."""
    from parity.analysis.local import sessions_json
    from parity.analysis.results import span_of

    manifest = run.manifest
    sessions = sessions_json(run.sessions())
    show(
        f"run {manifest.run_id}: {manifest.mode}, {manifest.state}, started {manifest.started}, "
        f"seed {manifest.seed}",
        f"recording {run.recording_path}",
    )
    if manifest.report is not None:
        show(*report_table(manifest.report), *totals(manifest.report))
        show_errors(run)
    else:
        names = ", ".join(str(one.config.get("strategy_id")) for one in manifest.strategies)
        show(f"still open, up to seq {grouped(run.flushed_seq())}; strategies: {names}")
    show_skipped(manifest.skipped)
    if sessions:
        show("")
        span = None
        try:
            span = span_of(run)
        except ParityError as error:
            show(f"all days of the sessions: {error.message}")
        show_sessions(sessions, span)


def show_sessions(sessions: Sequence[Mapping[str, Any]], span: tuple[int, int] | None) -> None:
    """Show the sessions that a run decided with, in local time; all other times are UTC.

    Args:
        sessions: as sessions_json() gives them.
        span: times of the first and the last tick, ns: only their days and those between are
            shown. None where they are not known.
    """
    from parity.analysis.local import days_between, phases_text

    for one in sessions:
        days = one["days"] if span is None else days_between(one, *span)
        table = table_of(f"sessions of {one['calendar']}", "UTC offset", f"in {one['zone']} time")
        for day in days[:_DAYS_SHOWN]:
            table.add_row(day["day"], day["utc_offset"], phases_text(day))
        more = len(one["days"]) - len(days[:_DAYS_SHOWN])
        show(
            table, *([f"and {counted(more, 'more day')}: --json has them"] if more > 0 else ()), ""
        )


def show_errors(run: RunFolder) -> None:
    """Show the first error of each strategy that had one: a count alone says nothing to mend."""
    from rich.text import Text

    report = run.manifest.report
    if report is None or not any(one.errors for one in report.executors):
        return
    from parity.analysis.frames import failures

    first = failures(run.path).unique(["strategy_id", "broker"], keep="first", maintain_order=True)
    for one in first.iter_rows(named=True):
        head = f"error of {one['strategy_id']}, its first: "
        where = f"seq {grouped(one['seq'])}, instrument {one['instrument_token']}: "
        show(Text.assemble((head, "red"), where, one["reason"]))


def totals(report: RunReport) -> tuple[str, ...]:
    """Return the lines below the table: what all strategies did together."""
    undelivered = f" ({grouped(report.undelivered)} not delivered)" if report.undelivered else ""
    refused = sum(report.refused_controls.values())
    words = (f"{counted(refused, 'control')} refused",) if refused else ()
    return (
        *words,
        f"{counted(report.ticks, 'tick')}{undelivered}, {counted(report.signals, 'signal')}, "
        f"{counted(sum(report.drops.values()), 'drop')}, {counted(report.fills, 'fill')}",
        f"digests: candidates {report.candidate_digest[:_DIGEST_SHOWN]}, "
        f"decisions {report.decision_digest[:_DIGEST_SHOWN]}",
    )


def report_table(report: RunReport) -> tuple[RenderableType, ...]:
    """Return strategies as rows, and below them their drops by reason.

    Columns that would only say the usual are left out, and where the terminal is narrow the
    decision digest, too.
    """
    rows = report.executors
    columns: dict[str, list[str]] = {"strategy": [one.strategy_id for one in rows]}
    if any(one.broker != "paper" for one in rows):
        columns["broker"] = [one.broker for one in rows]
    states = [_state(one) for one in rows]
    if any(state != "ACTIVE" for state in states):
        columns["state"] = states
    # A strategy that sees its portfolio has no candidates of the digest, though it speaks.
    quiet = [one.signals and not one.candidates for one in rows]
    columns["candidates"] = [
        "–" if none else grouped(one.candidates) for none, one in zip(quiet, rows, strict=True)
    ]
    columns["signals"] = [grouped(one.signals) for one in rows]
    columns["drops"] = [grouped(sum(one.drops.values())) for one in rows]
    columns["fills"] = [grouped(one.fills) for one in rows]
    if any(one.errors for one in rows):
        columns["errors"] = [grouped(one.errors) for one in rows]
    columns["PnL"] = [_money(one.pnl) for one in rows]
    wide = width() >= _WIDE
    columns["candidate digest" if wide else "cand. digest"] = [
        one.candidate_digest[:_DIGEST_SHOWN] for one in rows
    ]
    if wide:
        columns["decision digest"] = [one.decision_digest[:_DIGEST_SHOWN] for one in rows]
    table = table_of(*columns, right=("candidates", "signals", "drops", "fills", "errors", "PnL"))
    for cells in zip(*columns.values(), strict=True):
        table.add_row(*cells)
    dropping = [one for one in rows if one.drops]
    if not dropping:
        return ("", table, "")
    drops = table_of("strategy", "drops by reason")
    for one in dropping:
        by_reason = sorted(one.drops.items(), key=lambda item: -item[1])
        words = ", ".join(f"{reason} {grouped(n)}" for reason, n in by_reason)
        drops.add_row(one.strategy_id, words)
    return ("", table, "", drops, "")


def _state(one: ExecutorReport) -> str:
    """Return the state at the end, and how often it was in one that says something went wrong."""
    counts = {} if one.lifecycle is None else one.lifecycle.entered  # older runs have none
    entered = {name: counts.get(name, 0) for name in _TROUBLE}
    entered[one.state] = entered.get(one.state, 0) - 1
    words = [f"{grouped(n)} × {name}" for name, n in entered.items() if name in _TROUBLE and n > 0]
    return f"{one.state} ({', '.join(words)} before)" if words else one.state


def _money(exact: str) -> str:
    return f"{Decimal(exact):,.2f}".replace(",", " ")


def show_skipped(skipped: Sequence[Mapping[str, str]]) -> None:
    """Show which strategies did not run, and why."""
    from rich.text import Text

    for one in skipped:
        show(Text.assemble((f"skipped {one['strategy_id']}: ", "yellow"), one["reason"]))
