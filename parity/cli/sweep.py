"""`parity backtest --set NAME=VALUE,VALUE`: variants side by side, as one table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from parity.cli.console import counted, say, show, show_json, table_of, told

if TYPE_CHECKING:
    from parity.compose.modes import Reading
    from parity.compose.sweeps import Swept
    from parity.settings.drafts import StrategySpec
    from parity.settings.overrides import Override
    from parity.settings.variants import Variant

_HEADS = {
    "signals": "signals",
    "drops": "drops",
    "fills": "fills",
    "pnl": "PnL",
    "max_drawdown": "drawdown",
    "max_drawdown_fraction": "of maximum",
    "trades": "trades",
    "hit_rate": "hit rate",
}


def run_sweep(
    reading: Reading,
    variants: Sequence[Variant],
    specs_of: Callable[[Sequence[Override]], list[StrategySpec]],
    out: Path | None,
    runs_dir: Path,
    as_json: bool,
) -> None:
    """Run variants and show what each came to."""
    from parity.analysis.sweep import compared, variant_json
    from parity.compose.sweeps import sweep

    with told(f"backtest of {counted(len(variants), 'variant')}") as tell:
        swept = sweep(reading, variants, specs_of, out=out, runs_dir=runs_dir, progress=tell)
    runs = [one.finished.run for one in swept]
    _say_skipped(swept)
    for warning in dict.fromkeys(w for one in swept for w in one.finished.warnings):
        say("warning: ", warning, style="yellow")
    found = [
        variant_json(one.variant.values, row, one.finished.run)
        for one, row in zip(swept, compared(runs), strict=True)
    ]
    report = runs[0].manifest.report
    assert report is not None, "a sweep returns complete runs only"
    seconds = swept[0].finished.seconds
    if as_json:
        show_json({"ticks": report.ticks, "seconds": round(seconds, 6), "variants": found})
        return
    show("", _table(found), "")
    show(f"{counted(report.ticks, 'tick')} read once; {seconds:.2f} s, runs {runs[0].path.parent}")


def _say_skipped(swept: Sequence[Swept]) -> None:
    """Say once which strategies did not run, and in which variants where it is not all of them."""
    where: dict[tuple[str, str], list[str]] = {}
    for one in swept:
        for skipped in one.finished.skipped:
            key = skipped["strategy_id"], skipped["reason"]
            where.setdefault(key, []).append(one.variant.label)
    for (name, reason), labels in where.items():
        some = f" of {'; '.join(labels)}" if len(labels) < len(swept) else ""
        say("skipped: ", f"{name}{some}: {reason}", style="yellow")


def _table(found: Sequence[dict[str, Any]]) -> Any:
    from parity.analysis.page import shown_statistic

    names = list(found[0]["set"])
    heads = list(_HEADS.values())
    table = table_of(*names, *heads, right=(*names, *heads))
    for one in found:
        cells = (shown_statistic(key, one[key]).replace("\u202f", " ") for key in _HEADS)
        table.add_row(*one["set"].values(), *cells)
    return table
