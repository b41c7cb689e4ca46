"""Sweeps: every variant is what a single run with its values is, and nothing else is left."""

import hashlib
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

import parity as pt
from parity.analysis.results import COUNTS, MONEY
from parity.analysis.sweep import SHOWN, sweep_frame
from parity.cli import app
from parity.compose.modes import Reading
from parity.compose.sweeps import sweep
from parity.live.inference import shipped_models
from parity.model.errors import ConfigError, StrategyWarning
from parity.recording.runs import RunFolder
from parity.settings.strategies import read_strategies
from parity.settings.variants import VARIANTS_MAX, of_mapping, variants_of
from parity.sources.synthetic import make_recording

RUNNER = CliRunner(env={"NO_COLOR": "1", "COLUMNS": "200"})
# A strategy that draws: its random stream depends on its id, which a variant must not change.
DRAWING = """
class Drawing:
    def __init__(self, odds):
        self.odds = odds
    def get_required_history_length(self):
        return 2
    def supports_instrument(self, token):
        return True
    def get_strategy_name(self):
        return "drawing"
    def process_tick(self, tick, history, rng):
        from parity import SignalResult
        if rng.below(self.odds) == 0:
            side = "BUY" if rng.uniform() < 0.5 else "SELL"
            return SignalResult(side, rng.uniform(), 1, tick.price)

def create(config):
    return Drawing(config.get("odds", 9))
"""
ROWS = """
strategies:
  - strategy_name: dips
    strategy_type: momentum_kernel
    instruments: all
    parameters: {threshold: 0.001, position_size: 1}
  - strategy_name: drawn
    strategy_type: drawing.py:drawing
    instruments: all
    parameters: {odds: 7}
"""
SETS = ("dips.threshold=0.001,0.002", "drawn.odds=5,11")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a recording and strategies of both tiers."""
    folder = tmp_path_factory.mktemp("sweeps")
    make_recording(folder / "recording", ticks=2_000)
    (folder / "strategies").mkdir()
    (folder / "strategies" / "drawing.py").write_text(DRAWING)
    (folder / "strategies" / "rows.yaml").write_text(ROWS)
    return folder


def swept(base: Path, out: Path, *sets: str, progress: Any = None) -> list[Any]:
    """Run variants."""
    return sweep(
        Reading(base / "recording", seed=3),
        variants_of(sets),
        read_strategies([base / "strategies"]).specs,
        out=out,
        runs_dir=base,
        progress=progress,
    )


def test_each_variant_is_the_single_run(base: Path, tmp_path: Path) -> None:
    """Digests, signal ids, whole reports: those of a backtest with these values alone."""
    found = swept(base, tmp_path / "all", *SETS)
    assert 4 == len(found)
    digests = set()
    for number, one in enumerate(found):
        overrides = [f"{name}={value}" for name, value in one.variant.values.items()]
        alone = pt.backtest(
            base / "recording",
            base / "strategies",
            seed=3,
            overrides=overrides,
            out=tmp_path / str(number),
        )
        run = pt.Run(one.finished.run)
        assert alone.folder.manifest.report == run.folder.manifest.report
        assert alone.signals.equals(run.signals)
        assert pt.diff(alone, run).same
        digests.add(run.folder.manifest.report.candidate_digest)  # type: ignore[union-attr] # complete
    assert 4 == len(digests)
    assert "identical" == pt.verify(pt.Run(found[-1].finished.run)).verdict
    assert [
        "001-dips.threshold=0.001,drawn.odds=5",
        "002-dips.threshold=0.001,drawn.odds=11",
        "003-dips.threshold=0.002,drawn.odds=5",
        "004-dips.threshold=0.002,drawn.odds=11",
    ] == sorted(path.name for path in (tmp_path / "all").iterdir())


@pytest.mark.parametrize(
    ("sets", "words"),
    [
        (("dips.threshold=0.001,nonsense",), "nonsense"),
        (("dips.threshold=0.001,-3",), "-3"),
        (("nobody.threshold=1,2",), "nobody"),
        (("dips.threshold=0.001,,0.002",), "empty value"),
        (("dips.threshold=0.001,0.001",), "stands twice"),
        (tuple(f"a{n}=1,2,3,4,5,6,7,8,9,10" for n in range(4)), "variants"),
    ],
)
def test_a_wrong_value_leaves_nothing(
    base: Path, tmp_path: Path, sets: tuple[str, ...], words: str
) -> None:
    """All variants are checked before one runs; the value is named."""
    with pytest.raises(ConfigError, match=words):
        swept(base, tmp_path / "out", *sets)

    assert not (tmp_path / "out").exists()


def test_an_interruption_leaves_nothing(base: Path, tmp_path: Path) -> None:
    """Runs that did not come to their end are removed, the sweep's folder with them."""

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        swept(base, tmp_path / "out", *SETS, progress=stop)

    assert not (tmp_path / "out").exists()


def test_a_folder_in_use_is_refused_and_kept(base: Path, tmp_path: Path) -> None:
    """What is there is somebody's."""
    (tmp_path / "note").write_text("mine")
    with pytest.raises(ConfigError, match="not empty"):
        swept(base, tmp_path, *SETS)

    assert ["note"] == [path.name for path in tmp_path.iterdir()]


def test_python_gives_a_frame_and_the_runs(base: Path) -> None:
    """A row for each variant, its numbers those of its run's statistics; one value is one row."""
    rec = pt.open(base / "recording")
    assert isinstance(rec, pt.Recording)
    frame, runs = pt.sweep(
        rec, "momentum", {"threshold": [0.001, 0.002], "lookback_periods": [5, 20]}
    )
    one = pt.sweep(rec, ["momentum"], {"threshold": [0.001]})
    totals = pl.concat([run.statistics.tail(1) for run in runs])

    assert [(0.001, 5), (0.001, 20), (0.002, 5), (0.002, 20)] == frame.select(
        "threshold", "lookback_periods"
    ).rows()
    for name in ("signals", "drops", "fills", "pnl", "max_drawdown", "hit_rate"):
        assert totals[name].to_list() == frame[name].to_list()
    assert [str(run.path) for run in runs] == frame["run"].to_list()
    assert [0.001] == one.frame["threshold"].to_list()
    same = frame.filter(threshold=0.001, lookback_periods=20)  # which is its default
    assert one.frame["signals"].to_list() == same["signals"].to_list()
    with pytest.raises(ConfigError, match="expected a list of values"):
        pt.sweep(rec, "momentum", {"threshold": 0.001})  # type: ignore[dict-item] # what is tried


# It spoils its own files as soon as it is built, and its model as soon as it has it.
SPOILING = """
import pathlib
HERE = pathlib.Path(HOME)
class Spoiling:
    model_path = "own.onnx"
    def __init__(self, odds):
        self.odds = odds
    def use_model(self, model):
        (HERE / "own.onnx").write_bytes(b"another")
    def get_required_history_length(self):
        return 2
    def supports_instrument(self, token):
        return True
    def get_strategy_name(self):
        return "spoiling"
    def process_tick(self, tick, history):
        return None

def create(config):
    (HERE / "rows.yaml").write_text("{nothing")
    (HERE / "spoiling.py").write_text("1 +")
    return Spoiling(config["odds"])
"""


def test_files_are_read_once_for_all_variants(base: Path, tmp_path: Path) -> None:
    """What is edited while a sweep begins reaches no variant: row, code and model are one each."""
    model = (shipped_models() / "momentum.onnx").read_bytes()
    (tmp_path / "own.onnx").write_bytes(model)
    (tmp_path / "spoiling.py").write_text(SPOILING.replace("HOME", repr(str(tmp_path))))
    row = "{id: spoiling, strategy_type: spoiling, instruments: all, parameters: {odds: 1}}"
    (tmp_path / "rows.yaml").write_text(row)
    words = ["backtest", str(base / "recording"), "-s", str(tmp_path), "--set", "odds=1,2,3"]
    done = RUNNER.invoke(app, [*words, "--out", str(tmp_path / "out"), "--json"])

    assert 0 == done.exit_code, done.output
    runs = [pt.Run(RunFolder(Path(one["run"]))) for one in json.loads(done.stdout)["variants"]]
    kept = [run.folder.manifest.strategies[0] for run in runs]
    assert [1, 2, 3] == [one.config["parameters"]["odds"] for one in kept]
    assert 1 == len({one.source_sha256 for one in kept})
    assert {hashlib.sha256(model).hexdigest()} == {one.model_sha256 for one in kept}


INVALID = """
strategies:
  - {strategy_name: good, strategy_type: momentum, instruments: all}
  - {strategy_name: bad, strategy_type: momentum, instruments: all, parameters: {treshold: 1}}
"""


def test_a_skipped_row_is_said_once_and_kept(base: Path, tmp_path: Path) -> None:
    """The table's page names it once, each variant's JSON and run has it, Python warns."""
    (tmp_path / "rows.yaml").write_text(INVALID)
    where = [str(base / "recording"), "-s", str(tmp_path / "rows.yaml")]
    words = ["backtest", *where, "--set", "threshold=0.001,0.002", "--skip-invalid"]
    done = RUNNER.invoke(app, [*words, "--out", str(tmp_path / "out"), "--json"])
    variants = json.loads(done.stdout)["variants"]

    assert 1 == done.stderr.count("skipped: bad: invalid: ")
    assert [["bad"], ["bad"]] == [[s["strategy_id"] for s in one["skipped"]] for one in variants]
    sets = {"threshold": [0.001, 0.002]}
    rows = tmp_path / "rows.yaml"
    with pytest.warns(StrategyWarning, match="strategy bad is skipped: .*treshold") as caught:
        frame, runs = pt.sweep(base / "recording", rows, sets, skip_invalid=True)
    with pytest.warns(StrategyWarning, match="strategy bad is skipped: .*treshold"):
        alone = pt.backtest(
            base / "recording", rows, overrides=["threshold=0.002"], skip_invalid=True
        )
    assert 1 == len(caught)
    assert [one["signals"] for one in variants] == frame["signals"].to_list()
    assert alone.signals.equals(runs[1].signals)
    with pytest.raises(ConfigError, match="treshold"):
        pt.sweep(base / "recording", rows, sets)


def test_a_wrong_value_is_never_a_skipped_row(base: Path, tmp_path: Path) -> None:
    """A variant without the strategy that is varied would compare nothing."""
    (tmp_path / "rows.yaml").write_text(INVALID)
    where = [str(base / "recording"), "-s", str(tmp_path / "rows.yaml"), "--skip-invalid"]
    for values in ("threshold=0.001,-3", "threshold=-3"):
        out = ["--out", str(tmp_path / "out")]
        done = RUNNER.invoke(app, ["backtest", *where, "-s", "breakout", *out, "--set", values])
        assert (2, True) == (done.exit_code, "error: --set threshold=-3: " in done.stderr), (
            done.output
        )
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_the_command_tabulates(base: Path, tmp_path: Path) -> None:
    """As text one row for each variant, as JSON one object; one value is an ordinary backtest."""
    words = ["backtest", str(base / "recording"), "-s", "momentum", "--set"]
    text = RUNNER.invoke(app, [*words, "threshold=0.001,0.002", "--out", str(tmp_path / "a")])
    as_json = RUNNER.invoke(
        app, [*words, "threshold=0.001,0.002", "--out", str(tmp_path / "b"), "--json"]
    )
    single = RUNNER.invoke(app, [*words, "threshold=0.001", "--out", str(tmp_path / "c"), "--json"])
    found, alone = json.loads(as_json.stdout), json.loads(single.stdout)

    assert (0, 0, 0) == (text.exit_code, as_json.exit_code, single.exit_code)
    assert ["threshold", "signals", "drops", "fills", "PnL"] == text.stdout.split()[:5]
    assert 2 == sum(line.lstrip().startswith("0.00") for line in text.stdout.splitlines())
    assert ["0.001", "0.002"] == [one["set"]["threshold"] for one in found["variants"]]
    assert alone["digests"] == found["variants"][0]["digests"]
    assert alone["signals"] == found["variants"][0]["signals"]


def test_values_that_hold_commas_stay_whole() -> None:
    """Brackets and quotes keep a value of --set together."""
    assert ["a=[1,2]"] == variants_of(["a=[1,2]"])[0].overrides
    assert [["a=x,y"], ["a=z"]] == [v.overrides for v in variants_of(["a='x,y',z"])]
    assert [{}] == [v.values for v in variants_of(["a=1", "b=2"])]
    assert VARIANTS_MAX == len(variants_of([f"a={','.join(map(str, range(VARIANTS_MAX)))}"]))


# Undeclared parameters: the strategy gets what was given, and nothing says what it should be.
SAYING = """
class Saying:
    def __init__(self, config):
        self.config = config
    def get_required_history_length(self):
        return 1
    def supports_instrument(self, token):
        return True
    def get_strategy_name(self):
        return "saying"
    def process_tick(self, tick, history):
        return None

def create(config):
    return Saying(config)
"""


@pytest.mark.parametrize(
    ("values", "shown"),  # shown: the frame's column, where it is not the values themselves
    [
        (["it's", "b"], None),
        (["a,b", "c"], None),
        (["10", "true", "null", "[1"], None),
        (["", " padded ", 'say "it"'], None),
        ([10, -3, None], None),
        ([True, False], None),
        ([0.5, 2.0], None),
        ([10, 2.5], [10.0, 2.5]),
        ([10, "10"], ["10", '"10"']),
        ([True, None, 1.5], ["true", None, "1.5"]),
        ([True, 7], ["true", "7"]),
        ([[1, "a,b"], {"k": "v"}], ['[1,"a,b"]', '{"k":"v"}']),
        ([1, 2**63], ["1", "9223372036854775808"]),
        ([-(2**64), 0.5], [-float(2**64), 0.5]),
        ([10**400, 0.5], [f"1{'0' * 400}", "0.5"]),
    ],
)
def test_values_of_python_stay_what_they_are(
    base: Path, tmp_path: Path, values: list[Any], shown: list[Any] | None
) -> None:
    """Each is one variant; the strategy has it unchanged, the frame too, mixed ones as text."""
    (tmp_path / "saying.py").write_text(SAYING)
    (tmp_path / "row.yaml").write_text(
        "{strategy_type: saying, instruments: all, parameters: {said: 0}}"
    )
    frame, runs = pt.sweep(base / "recording", str(tmp_path), {"said": values})
    kept = [run.folder.manifest.strategies[0].config["parameters"]["said"] for run in runs]

    assert [(type(v), v) for v in values] == [(type(v), v) for v in kept]
    column = frame["said"].to_list()
    assert [(type(v), v) for v in shown or values] == [(type(v), v) for v in column]


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ([2**63 - 1, -(2**63)], [2**63 - 1, -(2**63)]),
        ([2**63, 1, None], ["9223372036854775808", "1", None]),
        ([-(2**63) - 1], ["-9223372036854775809"]),
        ([2**64, 0.5], [float(2**64), 0.5]),
        ([10**400, 0.5], [f"1{'0' * 400}", "0.5"]),
        ([True, None], [True, None]),
        ([True, 1], ["true", "1"]),
    ],
)
def test_a_frame_has_numbers_as_they_are_or_as_text(values: list[Any], shown: list[Any]) -> None:
    """An integer beyond 64 bits, or one that no float holds, is told in digits, none is cut."""
    money, counts = set(MONEY), set(COUNTS)
    row = {n: Decimal(0) if n in money else 0 if n in counts else 0.0 for n in SHOWN}
    frame = sweep_frame([{"x": v} for v in values], [row] * len(values), ["run"] * len(values))

    assert shown == frame["x"].to_list()


def test_numbers_of_numpy_and_paths_are_plain_values() -> None:
    """A row could hold them."""
    found = of_mapping({"n": np.array([1, 2]), "x": [np.float64(0.5)], "model": [Path("a/b.onnx")]})

    assert [{"n": 1, "x": 0.5, "model": "a/b.onnx"}, {"n": 2, "x": 0.5, "model": "a/b.onnx"}] == [
        v.values for v in found
    ]
    assert [int, float, str] == [type(value) for value in found[0].values.values()]


def test_numpy_inside_lists_and_mappings_is_plain_too() -> None:
    """Rows of an array, and numbers and paths inside lists and mappings."""
    values = [np.array([1, 2]), [np.float64(0.5), (Path("a"),)], {"k": [np.int8(3)]}]
    (a,), (b,), (c,) = ([v.values["n"]] for v in of_mapping({"n": values}))

    assert ([1, 2], [0.5, ("a",)], {"k": [3]}) == (a, b, c)
    assert [int, float, int] == [type(one) for one in (a[0], b[0], c["k"][0])]
    with pytest.raises(ConfigError, match=r"sweep: n: \[1, 2\] stands twice"):
        of_mapping({"n": [np.array([1, 2]), [1, 2]]})


def test_too_many_values_are_refused_before_any_is_looked_at() -> None:
    """However many they are."""
    with pytest.raises(ConfigError, match="sweep: n: makes 1000000000000 variants"):
        of_mapping({"n": range(10**12)})
    with pytest.raises(ConfigError, match="makes 100000 variants"):
        variants_of([f"a={','.join(map(str, range(100_000)))}"])


def test_a_python_user_is_told_of_the_sweep(base: Path) -> None:
    """Never of a flag that was not written."""
    for sets, words in (
        ({"threshold": ["x", 0.1]}, "sweep: threshold=.*parameters.threshold: expected"),
        ({"treshold": [1, 2]}, "sweep: treshold=1: no strategy has a parameter"),
        ({"nobody.threshold": [1, 2]}, "sweep: nobody.threshold=1: no strategy 'nobody'"),
    ):
        with pytest.raises(ConfigError, match=words) as caught:
            pt.sweep(base / "recording", "momentum", sets)
        assert "--set" not in str(caught.value)


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"a": [1, 1]}, "sweep: a: 1 stands twice"),
        ({5: [1, 2]}, "sweep: expected a parameter's name, was 5"),
        ({"a": list(range(VARIANTS_MAX + 1))}, "sweep: a: makes 1001 variants"),
    ],
)
def test_a_mapping_that_makes_no_sweep_is_refused(parameters: Any, words: str) -> None:
    """What is wrong is named, with the parameter."""
    with pytest.raises(ConfigError, match=words):
        of_mapping(parameters)
