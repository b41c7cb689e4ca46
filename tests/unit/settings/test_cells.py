"""Functions from notebook cells: what a run keeps of them, and what it refuses to keep."""

import linecache
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

import parity as pt
from parity.settings.cells import source_of
from parity.sources.synthetic import make_recording

_CELLS = count()
PLAIN = """
import parity as pt

@pt.strategy("cell", history=2)
def cell(tick, history, *, drop=0.0001):
    if tick.price < history[0].price * (1 - drop):
        return pt.SignalResult("BUY", 0.9, 1, tick.price, "fell")
"""


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording of 2 000 synthetic ticks."""
    path = tmp_path_factory.mktemp("data") / "recording"
    make_recording(path, ticks=2_000)
    return path


@pytest.fixture
def cell() -> Iterator[Any]:
    """Run texts as cells of one notebook; the fixture's value returns its variables."""
    names: dict[str, Any] = {"__name__": "__main__"}
    written: list[str] = []

    def run(text: str) -> dict[str, Any]:
        file = f"<cell {next(_CELLS)}>"
        lines = text.splitlines(keepends=True)
        linecache.cache[file] = (len(text), None, lines, file)  # as a kernel keeps its cells
        written.append(file)
        exec(compile(text, file, "exec"), names)
        return names

    yield run
    for file in written:
        linecache.cache.pop(file, None)


def proved(recording: Path, strategy: Any) -> pt.Run:
    """Backtest a strategy that must speak without an error, and verify the run."""
    done = pt.backtest(recording, strategy)
    summary = done.summary()["strategies"][strategy.name]

    assert summary["candidates"] > 0
    assert 0 == summary["errors"]
    assert "identical" == pt.verify(done).verdict
    return done


def test_a_cell_runs_and_verifies(recording: Path, cell: Any) -> None:
    """A function written in a cell is run, kept and verified."""
    done = proved(recording, cell(PLAIN)["cell"])
    kept = next((done.path / "source").rglob("*.py")).read_text()

    assert "def cell(tick, history, *, drop=0.0001):" in kept


@pytest.mark.slow
def test_an_edited_cell_changes_nothing_of_its_run(recording: Path, cell: Any) -> None:
    """A run made before the cell was edited still verifies, and differs from a new one."""
    before = proved(recording, cell(PLAIN)["cell"])
    after = proved(recording, cell(PLAIN.replace("0.0001", "0.0005"))["cell"])

    assert "identical" == pt.verify(before).verdict
    assert not pt.diff(before, after).same


@pytest.mark.slow
def test_helpers_constants_and_imports_are_kept(recording: Path, cell: Any) -> None:
    """What a function reaches stands in the kept text, comprehensions and lambdas included."""
    cell("import math as m\nfrom statistics import fmean\nLEVELS = [1.0, 2.5]\nWEIGHT = 0.5\n")
    cell("def weigh(x):\n    return x * WEIGHT\n")
    names = cell(
        "import parity as pt\n"
        '@pt.strategy("reach", history=3)\n'
        "def reach(tick, history):\n"
        "    total = sum(weigh(t.price) for t in history)\n"
        "    first = (lambda: max(LEVELS))()\n"
        "    if m.isfinite(total) and fmean([total, first]) > 0:\n"
        '        return pt.SignalResult("SELL", 0.5, 1, tick.price)\n'
    )
    done = proved(recording, names["reach"])
    kept = next((done.path / "source").rglob("*.py")).read_text()

    for part in ("import math as m", "from statistics import fmean as fmean", "WEIGHT = 0.5"):
        assert part in kept
    assert kept.index("def weigh(x):") < kept.index("def reach(")


@pytest.mark.slow
def test_what_a_closure_holds_is_kept(recording: Path, cell: Any) -> None:
    """A value that a strategy takes from the function around it is kept as it was."""
    names = cell(
        "import parity as pt\n"
        "def make(level):\n"
        '    @pt.strategy("held", history=2)\n'
        "    def held(tick, history):\n"
        "        if tick.price > level:\n"
        '            return pt.SignalResult("BUY", 0.5, 1, tick.price)\n'
        "    return held\n"
    )

    proved(recording, names["make"](10.5))
    assert "level = 10.5" in source_of(names["make"](10.5))


def test_annotations_and_defaults_need_nothing_more(recording: Path, cell: Any) -> None:
    """Names in annotations are not needed, names in defaults are kept."""
    names = cell(
        "import parity as pt\n"
        "from typing import Any as Anything\n"
        "LEAST = 0.0001\n"
        '@pt.strategy("typed", history=2)\n'
        "def typed(tick: pt.MarketTick, history: Anything, *, drop: float = LEAST):\n"
        "    if tick.price < history[0].price * (1 - drop):\n"
        '        return pt.SignalResult("BUY", 0.9, 1, tick.price)\n'
    )

    proved(recording, names["typed"])


def test_a_default_that_means_something_else_by_now_is_refused(cell: Any, recording: Path) -> None:
    """A default is what it was when the cell ran; another meaning by now is said."""
    names = cell(
        "import parity as pt\n"
        "LEAST = 0.0001\n"
        '@pt.strategy("moved", history=2)\n'
        "def moved(tick, history, *, drop=LEAST):\n"
        "    return None\n"
    )
    cell("LEAST = 0.5\n")

    with pytest.raises(pt.ConfigError, match=r"default of drop was 0\.0001.* gives 0\.5"):
        pt.backtest(recording, names["moved"])


def test_a_name_that_only_stands_behind_a_dot_is_not_taken(cell: Any) -> None:
    """A notebook's variable `price` is no part of a strategy that reads `tick.price`."""
    cell("price = object()\n")
    text = source_of(cell(PLAIN)["cell"])

    assert "\nprice =" not in text


@pytest.mark.parametrize(
    ("setup", "body", "message"),
    [
        ("import numpy\nthing = numpy.zeros(3)", "thing.sum()", "'thing' is a ndarray"),
        ("thing = float('nan')", "thing + 1", "'thing' is nan"),
        ("class thing: pass", "thing()", "'thing' is thing, defined here"),
        ("thing = open", "thing", None),
        ("thing = lambda x: x", "thing(1)", "plain functions"),
        ("import types\nthing = types.ModuleType('mine')", "thing.x", "module mine"),
    ],
)
def test_what_cannot_be_kept_is_named(
    cell: Any, setup: str, body: str, message: str | None
) -> None:
    """A strategy that uses what no file can hold is refused, naming it."""
    cell(setup)
    names = cell(f'import parity as pt\n@pt.strategy("odd")\ndef odd(tick, history):\n    {body}\n')
    if message is None:
        assert "from io import open as thing" in source_of(names["odd"])
        return

    with pytest.raises(pt.ConfigError, match=message):
        source_of(names["odd"])


def test_a_function_that_keeps_state_is_refused(cell: Any) -> None:
    """Assigning a global from inside would be state that no checkpoint holds."""
    names = cell(
        "import parity as pt\n"
        "count = 0\n"
        '@pt.strategy("counting")\n'
        "def counting(tick, history):\n"
        "    global count\n"
        "    count += 1\n"
    )

    with pytest.raises(pt.ConfigError, match="'count' is assigned from inside"):
        source_of(names["counting"])
