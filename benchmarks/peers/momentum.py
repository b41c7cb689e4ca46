"""Momentum, the bar for Python callbacks: parity's processor beside csp's Python node.

The same ticks, the same lines of the rule, and the same thing said by each: side, confidence,
quantity, price, text and change, kept until the end. What parity does besides stays in its time: it
reads fifteen columns where csp reads five, validates, fills on paper, digests. At a threshold that
nothing reaches, both pay for their ticks alone. A case that keeps another number of signals is an
error: it did other work.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from benchmarks import generate
from benchmarks.peers.turns import Data, turn

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.report import Report

# How many strategies, and how much larger than the benchmarks' own their thresholds are: at a
# hundred times nothing is found, so that a turn costs what the nodes cost and no decision.
WORK: Final = ((1, 1), (10, 1), (1, 100), (10, 100))
QUANTITY: Final = 100.0


class Case(NamedTuple):
    """What takes a turn; `beside` is the case it is to be ahead of, which begins as it does."""

    name: str
    peer: str
    script: str
    form: str
    beside: str = ""


STRUCTS: Final = "csp, nodes over tick structs, from Parquet"
MEMORY: Final = "csp, nodes over tick structs, table in memory"
LOOP: Final = "plain loop over ticks made beforehand"
CASES: Final = (
    Case(LOOP, "", "parity_momentum", "loop"),
    Case(STRUCTS, "csp", "csp_momentum", "struct"),
    Case(MEMORY, "csp", "csp_momentum", "memory"),
    Case("csp, a node an instrument, prices alone, from Parquet", "csp", "csp_momentum", "price"),
    Case("parity, processors, from Parquet", "", "parity_momentum", "parquet", STRUCTS),
    Case("parity, processors, batches in memory", "", "parity_momentum", "memory", MEMORY),
)


def asked(form: str, count: int, factor: int) -> dict[str, object]:
    """Return what a turn is asked for: so many strategies, of thresholds one percent apart."""
    least = generate.MOMENTUM["threshold"] * factor
    return {
        "form": form,
        "lookback": generate.MOMENTUM["lookback_periods"],
        "quantity": QUANTITY,
        "thresholds": [least * (1 + n / 100) for n in range(count)],
    }


def measure(report: Report, data: Data, pythons: Mapping[str, str]) -> list[str]:
    """Let each case take its turns; return what went wrong: not all kept the same signals."""
    wrong = []
    for count, factor in WORK:
        seconds: dict[str, float] = {}
        kept: dict[str, tuple[int, int]] = {}
        for _ in range(generate.ROUNDS):
            for case in CASES:
                said = turn(pythons[case.peer], case.script, data, asked(case.form, count, factor))
                seconds[case.name] = min(said["seconds"], seconds.get(case.name, said["seconds"]))
                kept[case.name] = (said["buy"], said["sell"])
        for case in CASES:
            taken = seconds[case.name]
            buy, sell = kept[case.name]
            figure = (
                f"{data.ticks / taken / 1e6:.2f} M ticks/s, {seconds[LOOP] / taken:.2f} × "
                f"the loop, {buy} + {sell} signals"
            )
            name = f"{count} × momentum{', no signal' if factor > 1 else ''}: {case.name}"
            if case.beside:
                report.at_least(name, figure, seconds[case.beside] / taken, 1.0, "csp over structs")
            else:
                report.say(name, figure)
        if len(set(kept.values())) > 1:
            wrong.append(f"{count} × momentum: the counts of signals differ: {kept}")
    return wrong
