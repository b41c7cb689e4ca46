"""`make bench-peers`: its rule is parity's, other work is named, and its scripts still run.

Peers run where `.venv-peers` holds them, which `make bench-peers` makes and CI does not. Nothing
here looks at a time.
"""

import sys
from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import generate
from benchmarks.peers import crosses, momentum, plot, turns
from benchmarks.peers.rule import Cross
from benchmarks.report import Report
from parity.recording.reader import open_recording
from parity.sources import synthetic

TICKS = 3000


@given(st.lists(st.integers(-3, 3), max_size=40))
def test_rule_says_what_its_definition_says(prices: list[int]) -> None:
    """Running integer sums cross where the two means, as fractions, do; a tie keeps the side."""
    cross, side, expected = Cross(2, 5), 0, []
    for end in range(1, len(prices) + 1):
        now = 0
        if end >= 5:
            fast, slow = (Fraction(sum(prices[end - n : end]), n) for n in (2, 5))
            now = (fast > slow) - (fast < slow)
        expected.append(now if side and now not in (0, side) else 0)
        side = now or side

    assert expected == [cross.take(price) for price in prices]


def test_an_exact_case_that_finds_other_crosses_is_named() -> None:
    """Floats may differ; the same exact rule may not, on either data."""
    usual = crosses.PERIODS[1]
    ours, *others = (crosses.Found(case, usual, 1.0, (9, 8), (6, 6)) for case in crosses.CASES)
    exact = next(one for one in others if one.case.peer and one.case.sums == crosses.EXACT)
    floats = next(one for one in others if one.case.sums != crosses.EXACT)

    busy = [one._replace(periods=crosses.PERIODS[0], synthetic=(99, 99)) for one in (ours, exact)]
    assert [] == crosses.disagreeing([ours, exact, floats._replace(real=(130, 130)), *busy])
    for other in (exact._replace(synthetic=(9, 9)), exact._replace(real=(130, 130))):
        (line,) = crosses.disagreeing([ours, other])
        assert line.startswith(f"{exact.case.name}, 200/1000, from {exact.case.start}: ")


def test_each_case_and_rate_keeps_its_fastest_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both rates are asked for in every round, and a turn that fails ends its own rate alone."""
    taken: Counter[tuple[str, str, int]] = Counter()

    def turn(python: str, script: str, data: turns.Data, asked: dict[str, Any]) -> dict[str, Any]:
        one = script, asked["form"], asked["slow"]
        taken[one] += 1
        if one == ("parity_cross", "loop", 50):
            raise turns.Failed("it fell over")
        return {"seconds": 1 + abs(taken[one] - 2), "buy": asked["fast"], "sell": asked["slow"]}

    monkeypatch.setattr(crosses, "turn", turn)
    monkeypatch.setattr(generate, "ROUNDS", 3)
    data = turns.Data(Path("recording"), Path("table"), 1, [])
    found, (wrong,) = crosses.measure(data, None, {"": "python"})

    mine = [case for case in crosses.CASES if not case.peer]
    assert wrong == "plain Python loop, 20/50, from memory: it fell over"
    assert len(found) == 2 * len(mine) - 1
    assert {(one.seconds, one.real) for one in found} == {(1, None)}
    assert all(one.synthetic == one.periods for one in found)


def test_plot_shows_each_case_once(tmp_path: Path) -> None:
    """The picture is written without a browser and names every case, and shows both rates."""
    found = [
        crosses.Found(case, periods, 0.5 / (1 + number), (1, 1), None)
        for number, periods in enumerate(crosses.PERIODS)
        for case in crosses.CASES
    ]
    plot.save(tmp_path / "peers.svg", found, 1000, "nothing measured")
    svg = (tmp_path / "peers.svg").read_text()

    assert {case.name for case in crosses.CASES if case.name not in svg} == set()
    assert len(crosses.CASES) == svg.count(">0.002 M/s<") == svg.count(">0.004 M/s<")


@pytest.mark.slow
def test_a_peer_that_cannot_be_installed_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its absence has a reason, and no stamp claims it is there."""
    (tmp_path / "requirements").mkdir()
    (tmp_path / "requirements" / "peers-none.txt").write_text("a line of no requirement\n")
    monkeypatch.setattr(turns, "ROOT", tmp_path)
    monkeypatch.setattr(turns, "ENVIRONMENTS", tmp_path / "environments")

    with pytest.raises(turns.Failed, match=r"not installed: .*[Ii]nvalid requirement"):
        turns.environment("none")
    assert [] == list(tmp_path.rglob(".stamp"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> turns.Data:
    """A few ticks, as a recording and as the peers' table."""
    folder = tmp_path_factory.mktemp("peers")
    synthetic.make_recording(folder / "recording", seed=5, ticks=TICKS)
    return turns.export(open_recording(folder / "recording"), folder)


def here(peer: str) -> dict[str, str]:
    """The Pythons of parity and of a peer, which is never installed for a test."""
    if peer and not (turns.ENVIRONMENTS / peer / ".stamp").exists():
        pytest.skip(f"{peer} is not in .venv-peers/{peer}: `make bench-peers` installs it")
    pythons = {"": sys.executable}
    return pythons | ({peer: str(turns.ENVIRONMENTS / peer / "bin" / "python")} if peer else {})


@pytest.mark.slow
@pytest.mark.parametrize("peer", ["", *turns.PEERS], ids=lambda peer: peer or "parity")
def test_crosses_of_a_peer_are_ours(
    peer: str, data: turns.Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each form of a peer still runs, and where its sums are exact it finds parity's crosses."""
    monkeypatch.setattr(generate, "ROUNDS", 1)
    cases = [case for case in crosses.CASES if case.peer == peer or case == crosses.CASES[0]]
    monkeypatch.setattr(crosses, "CASES", tuple(cases))
    monkeypatch.setattr(crosses, "PERIODS", crosses.PERIODS[:1])  # few ticks, many crosses
    found, wrong = crosses.measure(data, None, here(peer))

    assert [] == wrong
    assert cases == [one.case for one in found]
    assert all(one.seconds > 0 and min(one.synthetic) > 10 for one in found)


@pytest.mark.slow
def test_momentum_says_the_same_in_csp_and_parity(
    data: turns.Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every form keeps the same signals of each side, and some."""
    report = Report()
    monkeypatch.setattr(generate, "ROUNDS", 1)
    monkeypatch.setattr(momentum, "WORK", ((2, 1),))

    assert [] == momentum.measure(report, data, here("csp"))
    assert len(momentum.CASES) == len(report.rows)
    assert not any(" 0 + 0 signals" in row.figure for row in report.rows)
