"""The SMA cross in every peer, on the same ticks: how fast, and how many crosses, at two rates.

The periods set the rate: 20/50 cross 21 times in a thousand of the synthetic ticks, which shows
what candidates cost; 200/1000 once or twice, as rules on ticks have it.

Nobody sends an order: peers note their crosses and keep them. Only parity decides, fills on paper
and digests, unless its row says "signals alone". Where a peer hands out integers, or its users
round prices to whole price steps, the rule is exact and has to find what parity finds. Where it
sums floats, or has a rule of its own, it finds others, and the table says why.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from benchmarks import generate
from benchmarks.peers.turns import Data, Failed, turn
from benchmarks.report import table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.report import Report

# Fast and slow: the rate of many crosses, and the usual one.
PERIODS: Final = ((20, 50), (200, 1000))
EXACT: Final = "exact integers"
ROLLING: Final = "floats, its own rolling mean"
WHOLE: Final = "parity, kernel, decided, filled, digested"
ALONE: Final = "parity, kernel, signals alone"
PROCESSOR: Final = "parity, Python processor, decided, filled, digested"
HEAD: Final = (
    *("SMA", "case", "from", "M ticks/s", "× kernel", "× processor"),
    *("synthetic", "real", "sums"),
)


class Case(NamedTuple):
    """What takes a turn, where its ticks come from, and how it sums them."""

    name: str
    peer: str
    script: str
    form: str
    start: str
    sums: str = EXACT


CASES: Final = (
    Case(WHOLE, "", "parity_cross", "kernel", "file"),
    Case(WHOLE, "", "parity_cross", "kernel_cached", "memory"),
    Case(ALONE, "", "parity_cross", "alone", "file"),
    Case(ALONE, "", "parity_cross", "alone_cached", "memory"),
    Case(PROCESSOR, "", "parity_cross", "processor", "file"),
    Case(PROCESSOR, "", "parity_cross", "processor_held", "memory"),
    Case("parity, shipped processor: sums its windows anew", "", "parity_cross", "shipped", "file"),
    Case("plain Python loop", "", "parity_cross", "loop", "memory"),
    Case("csp, Python node", "csp", "csp_cross", "struct", "file"),
    Case("csp, Python node", "csp", "csp_cross", "memory", "memory"),
    Case("csp, its own means", "csp", "csp_cross", "own", "file", ROLLING),
    Case("NautilusTrader, Python strategy", "nautilus", "nautilus_cross", "catalog", "file"),
    Case("NautilusTrader, Python strategy", "nautilus", "nautilus_cross", "memory", "memory"),
    Case(
        "NautilusTrader, its own indicators",
        "nautilus",
        "nautilus_cross",
        "own",
        "memory",
        "floats, its own indicator",
    ),
    Case("hftbacktest, numba loop", "hftbacktest", "hftbacktest_cross", "file", "file"),
    Case("hftbacktest, numba loop", "hftbacktest", "hftbacktest_cross", "memory", "memory"),
    Case(
        "hftbacktest, numba loop",
        "hftbacktest",
        "hftbacktest_cross",
        "floats",
        "memory",
        "floats, running sums",
    ),
    Case(
        "vectorbt, whole columns",
        "vectorbt",
        "vectorbt_cross",
        "columns",
        "memory",
        "floats, its own rolling mean and rule for ties",
    ),
    Case(
        "backtesting.py",
        "backtesting",
        "backtesting_cross",
        "bars",
        "memory",
        "floats, pandas' rolling mean",
    ),
)


class Found(NamedTuple):
    """What came of a case: its periods, fastest CPU seconds, crosses of each side by data."""

    case: Case
    periods: tuple[int, int]
    seconds: float
    synthetic: tuple[int, int]
    real: tuple[int, int] | None

    @property
    def words(self) -> str:
        """The case, its periods and its start."""
        return f"{self.case.name}, {'/'.join(map(str, self.periods))}, from {self.case.start}"


def _taken(
    case: Case, periods: tuple[int, int], data: Data, pythons: Mapping[str, str]
) -> dict[str, Any]:
    fast, slow = periods
    asked = {"form": case.form, "fast": fast, "slow": slow, "instruments": data.instruments}
    return turn(pythons[case.peer], case.script, data, asked)


def measure(
    data: Data, real: Data | None, pythons: Mapping[str, str]
) -> tuple[list[Found], list[str]]:
    """Let each case take its turns; return what came of them, and what went wrong."""
    kept: dict[tuple[Case, tuple[int, int]], Found] = {}
    wrong: dict[tuple[Case, tuple[int, int]], str] = {}
    here = [(case, periods) for periods in PERIODS for case in CASES if case.peer in pythons]
    for number in range(generate.ROUNDS):
        for one in (one for one in here if one not in wrong):
            try:
                said = [_taken(*one, data, pythons)]
                if number == 0 and real is not None:
                    said.append(_taken(*one, real, pythons))
            except Failed as failure:
                words = Found(*one, 0.0, (0, 0), None).words
                wrong[one] = f"{words}: {failure}"
                kept.pop(one, None)
                continue
            counts = [(each["buy"], each["sell"]) for each in said]
            new = Found(*one, said[0]["seconds"], counts[0], counts[1] if counts[1:] else None)
            old = kept.setdefault(one, new)
            kept[one] = old._replace(seconds=min(old.seconds, new.seconds))
    found = [kept[one] for one in here if one in kept]
    return found, [*wrong.values(), *disagreeing(found)]


def disagreeing(found: list[Found]) -> list[str]:
    """Return which exact cases did not find what parity's kernel finds."""
    kernel = {one.periods: one for one in found if one.case == CASES[0]}
    if not kernel:
        return ["parity's kernel said nothing to compare with"]
    return [
        f"{one.words}: {one.synthetic} and {one.real} crosses, "
        f"parity {ours.synthetic} and {ours.real}: the same exact rule has to find the same"
        for one in found
        if one.case.sums == EXACT
        and (ours := kernel.get(one.periods)) is not None
        and (one.synthetic, one.real) != (ours.synthetic, ours.real)
    ]


def lines(found: list[Found], ticks: int) -> list[str]:
    """Return the table; ratios are to parity's rows of the same start, above 1 is faster."""
    base = {(one.periods, one.case.name, one.case.start): one.seconds for one in found}
    rows = []
    for one in found:
        case = one.case
        ratios = []
        for ours in (WHOLE, PROCESSOR):
            mine = base.get((one.periods, ours, case.start))
            ratios.append("" if mine is None else f"{mine / one.seconds:.2f}")
        rows.append(
            (
                "/".join(map(str, one.periods)),
                case.name,
                case.start,
                f"{ticks / one.seconds / 1e6:.3g}",
                *ratios,
                "{} + {}".format(*one.synthetic),
                "{} + {}".format(*one.real) if one.real else "absent",
                case.sums,
            )
        )
    return table(HEAD, rows)


def tell(report: Report, found: list[Found], ticks: int) -> None:
    """Add the bars: ahead of every peer of the same start and periods, whatever it sums."""
    for ours in (one for one in found if one.case.name in (WHOLE, ALONE, PROCESSOR)):
        peers = [
            one
            for one in found
            if one.case.peer and (one.periods, one.case.start) == (ours.periods, ours.case.start)
        ]
        if ours.case.name == PROCESSOR:
            peers = [one for one in peers if one.case.name == "csp, Python node"]
        if peers:
            best = min(peers, key=lambda one: one.seconds)
            ratio = best.seconds / ours.seconds
            figure = f"{ticks / ours.seconds / 1e6:.3g} M ticks/s"
            report.at_least(ours.words, figure, ratio, 1.0, best.case.name)
