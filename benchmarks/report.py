"""The table at the end of `make bench`: case, figure, ratio, bar, met or not.

Ratios compare within one run on one machine; figures are orientation. Nothing here fails a test.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

HEAD: Final = ("case", "figure", "ratio", "bar", "met")


class Row(NamedTuple):
    """One line of the table; `ratio` and `bar` are empty where there is no bar."""

    case: str
    figure: str
    ratio: str = ""
    bar: str = ""
    met: str = ""


class Report:
    """Collects rows while the benchmarks run."""

    def __init__(self) -> None:
        self.rows: list[Row] = []

    def say(self, case: str, figure: str) -> None:
        """Add a figure that has no bar."""
        self.rows.append(Row(case, figure))

    def at_least(self, case: str, figure: str, ratio: float, bar: float, of: str) -> None:
        """Add a figure that should be at least `bar` of something measured in the same run."""
        self.rows.append(Row(case, figure, f"{ratio:.2f}", f"≥ {bar} × {of}", _met(ratio >= bar)))

    def at_most(self, case: str, figure: str, ratio: float, bar: float, of: str) -> None:
        """Add a figure that should be at most `bar` of something measured in the same run."""
        self.rows.append(Row(case, figure, f"{ratio:.2f}", f"≤ {bar} × {of}", _met(ratio <= bar)))

    def within(self, case: str, value: float, unit: str, *, most: float) -> None:
        """Add a value that should be at most `most`."""
        self.rows.append(Row(case, f"{value:.4g} {unit}", "", f"≤ {most:g}", _met(value <= most)))

    def above(self, case: str, value: float, unit: str, *, least: float) -> None:
        """Add a value that should be at least `least`."""
        self.rows.append(Row(case, f"{value:.4g} {unit}", "", f"≥ {least:g}", _met(value >= least)))

    def lines(self) -> list[str]:
        """Return the table as lines of text."""
        return table(HEAD, self.rows)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows of cells as lines of text, columns as wide as their widest cell."""
    whole = [head, *rows]
    widths = [max(len(row[n]) for row in whole) for n in range(len(head))]
    return ["  ".join(c.ljust(w) for c, w in zip(r, widths, strict=True)) for r in whole]


def _met(met: bool) -> str:
    return "yes" if met else "NO"


def beside(
    benchmark: Any,
    subject: Callable[..., object],
    references: Mapping[str, Callable[[], object]],
    *,
    rounds: int,
    prepare: Callable[[], tuple[Any, ...]] = tuple,
) -> dict[str, list[float]]:
    """Time the references before each round of the subject; return seconds by name and round.

    Interleaving them lets a noisy neighbour hit all of them alike. The first round is not counted.

    Args:
        benchmark: pytest-benchmark's fixture.
        subject: what the benchmark is about; its seconds stand under "subject".
        references: what it is compared with.
        rounds: how often each runs.
        prepare: makes the subject's arguments, untimed.
    """
    seconds: dict[str, list[float]] = {name: [] for name in references}

    def setup() -> tuple[tuple[Any, ...], dict[str, Any]]:
        for name, reference in references.items():
            began = time.perf_counter()
            reference()
            seconds[name].append(time.perf_counter() - began)
        return prepare(), {}

    benchmark.pedantic(subject, setup=setup, rounds=rounds, warmup_rounds=1)
    found = {name: taken[-rounds:] for name, taken in seconds.items()}
    return found | {"subject": list(benchmark.stats.stats.data)}


def middle(values: Sequence[float]) -> float:
    """Return the median."""
    return statistics.median(values)


def rate(ticks: int, seconds: Sequence[float]) -> str:
    """Return ticks per second at the median, in millions."""
    return f"{ticks / middle(seconds) / 1e6:.2f} M ticks/s"
