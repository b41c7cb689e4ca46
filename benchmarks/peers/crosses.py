"""The SMA 20/50 cross in every peer, on the same ticks: how fast, and how many crosses.

Nobody sends an order: peers note their crosses and keep them. Only parity decides, fills on paper
and digests, unless its row says "signals alone". Where a peer hands out integers, or
its users round prices to whole price steps, the rule is exact and has to find what parity finds.
Where it sums floats, or has a rule of its own, it finds others, and the table says why.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from benchmarks import generate
from benchmarks.peers.turns import Data, Failed, turn
from benchmarks.report import table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.report import Report

FAST, SLOW = 20, 50
EXACT: Final = "exact integers"
ROLLING: Final = "floats, its own rolling mean"
WHOLE: Final = "parity, kernel, decided, filled, digested"
ALONE: Final = "parity, kernel, signals alone"
PROCESSOR: Final = "parity, Python processor, decided, filled, digested"
HEAD: Final = ("case", "from", "M ticks/s", "× kernel", "× processor", "synthetic", "real", "sums")


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
    """What came of a case: its fastest CPU seconds, and the crosses of each side by data."""

    case: Case
    seconds: float
    synthetic: tuple[int, int]
    real: tuple[int, int] | None


def _taken(case: Case, data: Data, pythons: Mapping[str, str]) -> dict[str, Any]:
    asked = {"form": case.form, "fast": FAST, "slow": SLOW, "instruments": data.instruments}
    return turn(pythons[case.peer], case.script, data, asked)


def measure(
    data: Data, real: Data | None, pythons: Mapping[str, str]
) -> tuple[list[Found], list[str]]:
    """Let each case take its turns; return what came of them, and what went wrong."""
    seconds: dict[Case, float] = {}
    crosses: dict[Case, list[tuple[int, int]]] = {}
    wrong: dict[Case, str] = {}
    here = [case for case in CASES if case.peer in pythons]
    for number in range(generate.ROUNDS):
        for case in (one for one in here if one not in wrong):
            try:
                said = [_taken(case, data, pythons)]
                if number == 0 and real is not None:
                    said.append(_taken(case, real, pythons))
            except Failed as failure:
                wrong[case] = f"{case.name}, from {case.start}: {failure}"
                continue
            crosses.setdefault(case, [(one["buy"], one["sell"]) for one in said])
            seconds[case] = min(said[0]["seconds"], seconds.get(case, said[0]["seconds"]))
    found = [
        Found(case, seconds[case], crosses[case][0], (crosses[case][1:] or [None])[0])
        for case in here
        if case not in wrong
    ]
    return found, [*wrong.values(), *disagreeing(found)]


def disagreeing(found: list[Found]) -> list[str]:
    """Return which exact cases did not find what parity's kernel finds."""
    ours = next((one for one in found if one.case == CASES[0]), None)
    if ours is None:
        return ["parity's kernel said nothing to compare with"]
    return [
        f"{one.case.name}, from {one.case.start}: {one.synthetic} and {one.real} crosses, "
        f"parity {ours.synthetic} and {ours.real}: the same exact rule has to find the same"
        for one in found
        if one.case.sums == EXACT and (one.synthetic, one.real) != (ours.synthetic, ours.real)
    ]


def lines(found: list[Found], ticks: int) -> list[str]:
    """Return the table; ratios are to parity's rows of the same start, above 1 is faster."""
    base = {(one.case.name, one.case.start): one.seconds for one in found}
    rows = []
    for one in found:
        case = one.case
        ratios = [
            f"{base[ours, case.start] / one.seconds:.2f}" if (ours, case.start) in base else ""
            for ours in (WHOLE, PROCESSOR)
        ]
        rows.append(
            (
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
    """Add the bars: ahead of every peer of the same start, whatever it sums."""
    for ours in (WHOLE, ALONE):
        for start in ("file", "memory"):
            mine = [one for one in found if (one.case.name, one.case.start) == (ours, start)]
            peers = [one for one in found if one.case.peer and one.case.start == start]
            if mine and peers:
                best = min(peers, key=lambda one: one.seconds)
                ratio = best.seconds / mine[0].seconds
                figure = f"{ticks / mine[0].seconds / 1e6:.3g} M ticks/s"
                report.at_least(f"{ours}, from {start}", figure, ratio, 1.0, best.case.name)
    node = [one for one in found if one.case.name == "csp, Python node"]
    for peer in node:
        for one in found:
            if (one.case.name, one.case.start) == (PROCESSOR, peer.case.start):
                ratio = peer.seconds / one.seconds
                figure = f"{ticks / one.seconds / 1e6:.3g} M ticks/s"
                report.at_least(
                    f"{PROCESSOR}, from {one.case.start}", figure, ratio, 1.0, peer.case.name
                )
