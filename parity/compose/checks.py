"""Everything that can be known of strategies before they run: lint, start-up, the contract.

What a configuration has wrong is found while it is loaded; here it loads already.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from parity.compose.plans import prepare
from parity.model.errors import NothingCompared, ParityError
from parity.proof.lint import Finding, lint_source
from parity.recording.reader import open_recording
from parity.testing.checks import Market, broken

if TYPE_CHECKING:
    from parity.settings.drafts import StrategySpec

TICKS_MAX: Final = 20_000  # of a recording: every check runs it several times
_CURE: Final = "a replay would not be the same; docs/strategies.md says what a strategy may not do"
_CURES: Final = {
    "raises": "the tick is skipped and counted as an error; mend it",
    "history_length": "say once how many ticks it wants to see, and look no further back",
    "silent_before_warm_up": "count ticks in the kernel's state, or declare the history it needs",
    "snapshot": "put all own state into snapshot() and take it back in restore()",
    "sanity": "say a price, a quantity, a confidence and an order that can be "
    "(docs/paper-broker.md has the orders)",
    "speaks": "give it parameters, or ticks (--on REC), that make it speak",
}


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What was checked, and what was found.

    Args:
        strategies: their ids.
        findings: in the order of the strategies; warnings do not fail a check.
        ticks: how many ticks the contract was checked on, over all strategies.
    """

    strategies: tuple[str, ...]
    findings: tuple[Finding, ...]
    ticks: int

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not any(one.severity == "error" for one in self.findings)

    def __str__(self) -> str:
        lines = [f"{one.severity}: {one}" for one in self.findings]
        return "\n".join([*lines, f"{', '.join(self.strategies)}: {'ok' if self.ok else 'not ok'}"])


def check(
    specs: Sequence[StrategySpec],
    *,
    on: Path | None = None,
    progress: Callable[[int, int | None], None] | None = None,
) -> CheckReport:
    """Lint strategies, start them, and put them through the contract.

    Args:
        specs: checked configurations; a disabled one is linted only.
        on: a recording whose ticks are used instead of synthetic ones.
        progress: called with how many strategies are done, and how many there are.

    Raises:
        NothingCompared: the recording has no ticks.
    """
    market = None if on is None else _market(on)
    findings = lint(specs)
    ticks = 0
    for number, spec in enumerate(specs):
        if progress is not None:
            progress(number, len(specs))
        if not spec.config.enabled:
            continue
        try:
            plan = prepare([spec]).plans[0]
            found = broken(plan, market)
        except ParityError as error:
            text = f"{spec.strategy_id} would not start: {error.message}"
            findings.append(_finding(spec, "start", text, error.cure))
            continue
        ticks += 0 if market is None else len(market.records)
        for one in found:
            text, cure = f"{spec.strategy_id}: {one.message}", _CURES.get(one.check, _CURE)
            findings.append(_finding(spec, one.check, text, cure, one.severity))
    return CheckReport(tuple(s.strategy_id for s in specs), tuple(findings), ticks)


def _finding(
    spec: StrategySpec, rule: str, message: str, cure: str, severity: str = "error"
) -> Finding:
    place = spec.place
    return Finding(place.file, place.line, place.column, rule, message, cure, severity)


def lint(specs: Sequence[StrategySpec]) -> list[Finding]:
    """Lint each user's file once, with the siblings it imported."""
    files = [file for spec in specs if (file := spec.type.file) is not None]
    files += [spec.validator.file for spec in specs if spec.validator is not None]
    sources = {source.path: source.text for file in files for source in file.sources}
    return [f for path, text in sources.items() for f in lint_source(text, near(path))]


def near(path: Path) -> str:
    """Return a path as people wrote it, where it lies below the working directory."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def _market(path: Path) -> Market:
    with open_recording(path) as recording:
        parts, count = [], 0
        for batch in recording.batches():
            parts.append(batch.ticks.to_records())
            count += len(parts[-1])
            if count >= TICKS_MAX:
                break
        if not count:
            raise NothingCompared(f"{path}: no ticks to check on", cure="name another recording")
        return Market(recording.table, np.concatenate(parts)[:TICKS_MAX], f"ticks of {path.name}")
