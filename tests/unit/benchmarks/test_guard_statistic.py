"""The latency guard's statistic, on values whose truth is known. Nothing here reads a clock."""

import itertools
import math
import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.guard import statistic
from benchmarks.guard.statistic import FALSE_ALARM, PAIRS, TOLERANCE, judge

WORKS = ("a", "b", "c", "d", "e")
RUNS = 400

# Whole numbers, so that equal sizes and zeros come often.
sizes = st.lists(st.integers(-6, 6).map(float), min_size=1, max_size=9)


def a_run(draw: random.Random, shift: float, sigma: float) -> dict[str, list[float]]:
    """Values of one run: what disturbs a pair is common to its works in part, and at times huge."""
    values: dict[str, list[float]] = {work: [] for work in WORKS}
    for _ in range(PAIRS):
        common = draw.gauss(0.0, sigma / 2)
        for work in WORKS:
            own = draw.gauss(0.0, sigma) * (10.0 if draw.random() < 0.03 else 1.0)
            values[work].append(shift + common + own)
    return values


def alarmed(shift: float, sigma: float, seed: int) -> int:
    """How many of RUNS synthetic runs alarm."""
    draw = random.Random(seed)
    return sum(any(v.alarm for v in judge(a_run(draw, shift, sigma))) for _ in range(RUNS))


@given(values=sizes)
def test_signed_rank_is_the_share_of_sign_patterns(values: list[float]) -> None:
    """The chance equals a count over every pattern of signs, with ties and zeros."""
    told = [v for v in values if v]
    order = sorted(abs(v) for v in told)
    ranks = [statistics.mean(n for n, o in enumerate(order) if o == abs(v)) + 1 for v in told]
    seen = sum(r for r, v in zip(ranks, told, strict=True) if v > 0)
    sums = [
        sum(r for r, sign in zip(ranks, signs, strict=True) if sign)
        for signs in itertools.product([False, True], repeat=len(ranks))
    ]
    expected = sum(s >= seen for s in sums) / len(sums)

    assert expected == statistic.signed_rank(values)


@pytest.mark.slow
@given(magnitudes=st.lists(st.floats(1e-6, 9.0), min_size=7, max_size=7))
def test_by_lot_no_more_runs_alarm_than_is_stated(magnitudes: list[float]) -> None:
    """Whatever a pair's disturbance is, of all ways the lot can fall at most FALSE_ALARM alarm."""
    patterns = list(itertools.product([-1.0, 1.0], repeat=len(magnitudes)))
    alarms = sum(
        judge({"a": [s * m for s, m in zip(signs, magnitudes, strict=True)]})[0].alarm
        for signs in patterns
    )

    assert alarms <= FALSE_ALARM * len(patterns)


def test_published_example() -> None:
    """Hollander and Wolfe's depression scores: V = 40, p = 0.0195, centre 0.46."""
    before = [1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30]
    after = [0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29]
    values = [x - y for x, y in zip(before, after, strict=True)]

    assert 0.0195 == round(statistic.signed_rank(values), 4)
    assert 0.46 == round(statistic.hodges_lehmann(values)[0], 2)


@pytest.mark.slow
@pytest.mark.parametrize("sigma", [0.005, 0.02, 0.2])
def test_the_same_code_alarms_no_more_often_than_is_stated(sigma: float) -> None:
    """Over synthetic runs of equal sides, quiet and wild, alarms are as rare as FALSE_ALARM."""
    alarms = alarmed(0.0, sigma, seed=1)

    assert statistic.at_least(alarms, RUNS, FALSE_ALARM) > 0.01


@pytest.mark.slow
@pytest.mark.parametrize("sigma", [0.005, 0.02, 0.025])
def test_five_percent_slower_is_caught(sigma: float) -> None:
    """A shift of 5 % alarms in at least 95 % of runs where a pair is disturbed by up to 2.5 %."""
    assert alarmed(math.log(1.05), sigma, seed=2) >= 0.95 * RUNS


def test_less_than_the_tolerance_is_no_alarm() -> None:
    """A slow-down that is certain and small is shown, and is none."""
    (verdict,) = judge({"a": [math.log1p(0.9 * TOLERANCE) + n * 1e-6 for n in range(PAIRS)]})

    assert verdict.p < FALSE_ALARM
    assert not verdict.alarm


def test_faster_is_no_alarm() -> None:
    """The question is one-sided."""
    assert not judge({"a": [-0.05 + n * 1e-4 for n in range(PAIRS)]})[0].alarm


@pytest.mark.slow
def test_the_interval_holds_the_centre() -> None:
    """The interval holds the true centre as often as its confidence says."""
    draw, held = random.Random(3), 0
    for _ in range(RUNS):
        _, low, high = statistic.hodges_lehmann([draw.gauss(1.0, 1.0) for _ in range(PAIRS)])
        held += low <= 1.0 <= high

    assert 1 - statistic.at_least(held + 1, RUNS, statistic.CONFIDENCE) > 0.01


def test_a_burst_moves_no_pair() -> None:
    """Rounds that a neighbour made ten times longer leave the value as it was."""
    quiet = [1.0] * statistic.ROUNDS
    burst = [10.0] * (statistic.ROUNDS // 2) + quiet[statistic.ROUNDS // 2 :]

    assert 0.0 == statistic.pair_value(burst, quiet)
    assert math.log(1.05) == pytest.approx(statistic.pair_value([1.05] * 7, quiet))


def test_pairs_least_is_the_fewest_that_can_alarm() -> None:
    """With as many pairs all slower there is an alarm, with one fewer there cannot be."""
    least = statistic.pairs_least(1)

    assert judge({"a": [0.05] * least})[0].alarm
    assert not judge({"a": [0.05] * (least - 1)})[0].alarm


@given(runs=st.integers(1, 60), data=st.data())
def test_highest_rate_is_where_so_few_alarms_become_unlikely(
    runs: int, data: st.DataObject
) -> None:
    """At the bound, that many alarms or fewer have the chance that confidence leaves."""
    alarms = data.draw(st.integers(0, runs - 1))
    rate = statistic.highest_rate(alarms, runs)

    assert 1 - statistic.CONFIDENCE == pytest.approx(
        1 - statistic.at_least(alarms + 1, runs, rate), abs=1e-6
    )
    assert 1.0 == pytest.approx(statistic.highest_rate(runs, runs))
