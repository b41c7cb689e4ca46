"""`parity report`: what a run came to, as text, JSON, or one page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from parity.cli.console import counted, grouped, say, show, show_json, table_of, width
from parity.cli.options import Json
from parity.cli.runs import show_sessions, show_skipped
from parity.model.errors import ConfigError

if TYPE_CHECKING:
    from rich.table import Table

EXAMPLE = (
    "Examples:\n\nparity report runs/first\n\nparity report runs/first --html report.html\n\n"
    "parity report runs/first --json"
)
_WIDE = 130


def command(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The run to tell about.")],
    html: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="Write one page with plots, and nothing else."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show what a run came to: statistics, drops by reason, lifecycle, and what proves it."""
    if html is not None and as_json:
        raise ConfigError("--html and --json: one of them", cure="call it twice")
    if html is not None and html.is_dir():
        raise ConfigError(f"--html: {html} is a folder", cure=f"name a file: {html}/report.html")
    from parity.analysis.report import report_of
    from parity.compose.verdicts import kept_verdict
    from parity.recording.runs import RunFolder

    folder = RunFolder(run)
    report = report_of(folder, kept_verdict(run))
    if html is not None:
        from parity.analysis.page import page

        html.parent.mkdir(parents=True, exist_ok=True)
        html.write_text(page(folder, report), encoding="utf-8")
        say(f"wrote {html}")
    elif as_json:
        show_json(report.values)
    else:
        _show(report.values, report.span)


def _show(values: dict[str, Any], span: tuple[int, int] | None) -> None:
    verdict = values["verdict"]
    show(
        f"run {values['run_id']}: {values['mode']}, {values['state']}, started "
        f"{values['started']}, seed {values['seed']}",
        f"recording {values['recording']['path']}",
    )
    if values["statistics"]["total"] is not None:
        for table in _statistics(values["statistics"]):
            show("", table)
        show("")
    if values["drops_by_strategy"]:
        drops = table_of("drops by reason", "", "strategies", right=("",))
        for reason, own in values["drops_by_strategy"].items():
            words = ", ".join(f"{name} {grouped(count)}" for name, count in own.items())
            drops.add_row(reason, grouped(sum(own.values())), words)
        show(drops, "")
    if values["lifecycle"]:
        states = table_of("strategy", "broker", "state", "transitions", right=("transitions",))
        for one in values["lifecycle"]:
            states.add_row(one["strategy_id"], one["broker"], one["state"], str(one["transitions"]))
        show(states, "")
    if values["skipped"]:
        show_skipped(values["skipped"])
        show("")
    show_sessions(values["sessions"], span)
    failures = values["failures"]
    if failures["count"]:
        failed = table_of("seq", "strategy", "instrument", "error", right=("seq", "instrument"))
        for one in failures["first"]:
            cells = (grouped(one["seq"]), one["strategy_id"], str(one["instrument_token"]))
            failed.add_row(*cells, one["reason"])
        show(f"{counted(failures['count'], 'failed tick')}, the first:", failed, "")
    digests = values.get("digests", {})
    show(*(f"digest of {name} {digest}" for name, digest in digests.items()))
    _show_live(values)
    for note in values["notes"]:
        say("note: ", note, style="yellow")
    if verdict is None:
        say(f"prove it: parity verify {values['run']}", style="dim")
    else:
        show(f"verified {verdict['verified']}: {verdict['verdict']}")


def _show_live(values: dict[str, Any]) -> None:
    """Show what only a live run has: what it sent, how fills differ from paper, where time went."""
    from parity.analysis.latency import span_text
    from parity.analysis.live_page import (
        FATES,
        GAP_HEADS,
        STALLS_SHOWN,
        fate_words,
        gap_rows,
        gap_words,
    )

    if (out := values["deliveries"]) is not None:
        show(*(f"{name} out: {fate_words(out[name])}" for name in FATES if out[name]))
        dead = table_of("dead", "number", "strategy", "topic", "error", right=("number",))
        for one in out["dead"]:
            whose = f"{one['strategy_id'] or 'not known'} at {one['broker'] or 'not known'}"
            topic = one["topic"] or "not known"
            dead.add_row(one["kind"], grouped(one["number"]), whose, topic, one["error"])
        show(*([dead] if out["dead"] else []))
    for gap in values["reality_gap"]:
        show("", f"reality gap of {gap['strategy_id']} at {gap['broker']}: {gap_words(gap)}")
        legs = table_of("", *GAP_HEADS, right=GAP_HEADS)
        for cells in gap_rows(gap):
            legs.add_row(*(cell.replace("\u202f", " ") for cell in cells))
        show(legs)
    latency = values["latency"]
    if latency is None:
        return
    heads = ("count", "p50", "p99", "p99.9", "max")
    stages = table_of("latency", *heads, right=heads)
    rows = {**latency["stages"], "late pulse": latency["late"]}
    rows |= {f"collection {n}": one for n, one in latency["collections"].items()}
    for name, one in rows.items():
        spans = (span_text(one[key]) for key in ("p50_ns", "p99_ns", "p999_ns", "max_ns"))
        stages.add_row(name, grouped(one["count"]), *spans)
    show("", stages)
    for one in latency["stalls"][:STALLS_SHOWN]:
        words = f"{span_text(one['ns'])} behind seq {grouped(one['seq'])}, {one['cause']} "
        show(f"stall of {words}{span_text(one['cause_ns'])}")


def _statistics(statistics: dict[str, Any]) -> list[Table]:
    """Return one row for each strategy, in two tables where the terminal is narrow."""
    from parity.analysis.page import shown_statistic

    parts: list[tuple[str, ...]] = [
        ("pnl", "unrealised", "max_drawdown", "max_drawdown_fraction", "hit_rate", "commission"),
        ("signals", "drops", "fills", "trades", "turnover", "exposure", "time_in_market"),
    ]
    if width() >= _WIDE:
        parts = [(*parts[0], *parts[1])]
    rows = dict(statistics["strategies"])
    if len(rows) > 1:
        rows["total"] = statistics["total"]
    tables = []
    for part in parts:
        heads = [_HEADS.get(name, name) for name in part]
        table = table_of("strategy", *heads, right=heads)
        for name, row in rows.items():
            cells = (shown_statistic(key, row[key]).replace("\u202f", " ") for key in part)
            table.add_row(name, *cells)
        tables.append(table)
    return tables


_HEADS = {
    "pnl": "PnL",
    "max_drawdown": "drawdown",
    "max_drawdown_fraction": "of maximum",
    "hit_rate": "hit rate",
    "time_in_market": "in market",
}
