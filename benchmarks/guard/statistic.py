"""Whether a change is slower: what is asked of the ratios, and how often that alarms for nothing.

One value a pair of processes: the median, over the rounds that the two took turns in, of
log(change / base) in CPU seconds. A process has a speed of its own (where its memory lies), which
no number of rounds inside it averages out, so pairs are counted, not rounds (Curtsinger & Berger,
STABILIZER, 2013; Kalibera & Jones, Rigorous Benchmarking in Reasonable Time, 2013).

An alarm takes both:

1. Wilcoxon's signed-rank test (1945), one-sided and exact, at FALSE_ALARM divided by the number of
   works (Bonferroni). Which side of a pair starts first is drawn by lot, so where nothing changed
   the sign of each value is a fair coin whatever the noise is: the rate of false alarms of a whole
   run is at most FALSE_ALARM, by count of sign patterns and not by a model of the machine.
2. A slow-down of at least TOLERANCE by Hodges and Lehmann's estimate (1963), the median of the
   means of all pairs of values. Code that only lies elsewhere in memory can be a percent slower
   for good; that is no reason to alarm, and it makes false alarms rarer than the stated rate.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

FALSE_ALARM: Final = 0.01  # of a run, all its works together, where nothing changed
TOLERANCE: Final = 0.02  # a smaller slow-down is none
PAIRS: Final = 12
ROUNDS: Final = 7
CONFIDENCE: Final = 0.95  # of intervals and bounds


class Verdict(NamedTuple):
    """What the pairs say of one work; slow-downs are fractions, below 0 where it is faster."""

    work: str
    slowdown: float
    low: float
    high: float
    p: float
    alarm: bool


def pair_value(change: Sequence[float], base: Sequence[float]) -> float:
    """Return the value of a pair of processes: the median log ratio of its rounds.

    Args:
        change: CPU seconds by round.
        base: the same, of the turns beside them.
    """
    return statistics.median(math.log(c / b) for c, b in zip(change, base, strict=True))


def signed_rank(values: Sequence[float]) -> float:
    """Return the exact chance of a signed-rank sum as high as this one if signs are fair coins.

    Zeros are left out, equal sizes share the mean of their ranks; the chance is that of the ranks
    as they are, so ties cost no exactness.

    >>> signed_rank([0.1, 0.2, 0.3])
    0.125
    """
    sizes = sorted(abs(v) for v in values if v)
    # Twice the mean rank is a whole number: the first place of that size plus its last.
    doubled = {s: 2 * sizes.index(s) + 1 + sizes.count(s) for s in sizes}
    ways = _ways([doubled[s] for s in sizes])
    seen = sum(doubled[v] for v in values if v > 0)
    return sum(ways[seen:]) / sum(ways)


def _ways(ranks: Sequence[int]) -> list[int]:
    """Return how many subsets of the ranks have each sum."""
    ways = [1] + [0] * sum(ranks)
    for rank in ranks:
        ways = [w + (ways[s - rank] if s >= rank else 0) for s, w in enumerate(ways)]
    return ways


def hodges_lehmann(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the median of the means of all pairs of values, and its interval.

    The interval holds the centre with at least CONFIDENCE where the values lie evenly around it;
    with fewer than six values it is their whole range, which cannot hold that.
    """
    means = sorted((a + b) / 2 for n, a in enumerate(values) for b in values[n:])
    ways = _ways(range(1, len(values) + 1))
    left_out, tail = 0, ways[0]
    while tail / sum(ways) <= (1 - CONFIDENCE) / 2:
        left_out += 1
        tail += ways[left_out]
    cut = max(left_out - 1, 0)
    return statistics.median(means), means[cut], means[-1 - cut]


def judge(values: Mapping[str, Sequence[float]]) -> list[Verdict]:
    """Return what the pairs say of each work.

    Args:
        values: of `pair_value`, by work.
    """
    verdicts = []
    for work, ratios in values.items():
        slowdown, low, high = (math.expm1(v) for v in hodges_lehmann(ratios))
        p = signed_rank(ratios)
        alarm = p <= FALSE_ALARM / len(values) and slowdown >= TOLERANCE
        verdicts.append(Verdict(work, slowdown, low, high, p, alarm))
    return verdicts


def pairs_least(works: int) -> int:
    """Return the fewest pairs with which so many works can alarm at all."""
    return math.ceil(math.log2(works / FALSE_ALARM))


def highest_rate(alarms: int, runs: int) -> float:
    """Return the upper bound of a rate with CONFIDENCE (Clopper & Pearson 1934, one-sided).

    >>> round(highest_rate(0, 59), 3)
    0.049
    """
    low, high = 0.0, 1.0
    for _ in range(60):
        rate = (low + high) / 2
        if 1 - at_least(alarms + 1, runs, rate) > 1 - CONFIDENCE:
            low = rate
        else:
            high = rate
    return high


def at_least(alarms: int, runs: int, rate: float) -> float:
    """Return the chance of that many alarms or more in so many runs at a rate."""
    fewer = (math.comb(runs, k) * rate**k * (1 - rate) ** (runs - k) for k in range(alarms))
    return 1.0 - sum(fewer)
