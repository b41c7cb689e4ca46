"""`--engine auto|tick|fused`: how a backtest goes over its ticks changes no byte.

Every shipped strategy, alone, through the modes that the command line calls, on a part of the demo
recording; and any engine that looks at few ticks together, on drawn streams.
"""

import json
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from every_feature import all_events, every_plan
from hypothesis import given
from hypothesis import strategies as st
from markets import SESSIONS

import parity as pt
from parity.compose.engines import ENGINES, rows_max_of
from parity.compose.modes import backtest
from parity.compose.plans import prepare
from parity.core import view
from parity.core.engine import Engine
from parity.core.view import MANY_ROWS
from parity.model.errors import ConfigError
from parity.model.events import EventBatch
from parity.proof.replayer import state_bytes
from parity.recording.reader import open_recording
from parity.recording.runs import RunFolder
from parity.settings.strategies import load_strategies
from parity.strategies import REGISTRY

Cli = Callable[..., subprocess.CompletedProcess[str]]

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "recordings" / "demo"
KERNELS = [name for name in REGISTRY if name.endswith("_kernel")]
# The demo recording begins at 2025-01-06T09:00:00Z; so much of it, and so small a move, let each of
# them speak.
END_NS = 1_736_154_000_000_000_000 + 900 * 1_000_000_000
LOW = ["threshold=0.001"]


def run_of(strategies: Sequence[str], out: Path, engine: str) -> RunFolder:
    """Run strategies with an engine, with their shipped configurations."""
    files = [ROOT / "strategies" / "configs" / f"{name}.yaml" for name in strategies]
    moved = any("threshold" in file.read_text() for file in files)
    specs = load_strategies(files, LOW if moved else ())
    return backtest(DEMO, specs, out=out, end_ns=END_NS, engine=engine, cache="off").run


def kept(run: RunFolder) -> dict[str, bytes]:
    """Return every file of a run but its manifest, and of that what came out, and its strategies.

    Left out are its id, when it began and where it lies.
    """
    files = {
        str(path.relative_to(run.path)): path.read_bytes()
        for path in sorted(run.path.rglob("*"))
        if path.is_file() and path.name != "manifest.json"
    }
    manifest = msgspec.to_builtins(run.manifest)
    for name in ("run_id", "started"):
        assert manifest.pop(name)
    return files | {"manifest": msgspec.json.encode(manifest, order="deterministic")}


@pytest.mark.slow
@pytest.mark.parametrize("strategy", list(REGISTRY))
def test_every_engine_gives_the_same_run(strategy: str, tmp_path: Path) -> None:
    """Candidates, decisions, report and manifest, byte by byte; and none of them names the engine.

    What cannot be fused is refused by name, with nothing left of the run.
    """
    auto = run_of([strategy], tmp_path / "auto", "auto")
    tick = run_of([strategy], tmp_path / "tick", "tick")
    report = auto.manifest.report
    assert report is not None
    assert report.executors[0].candidates > 0
    assert kept(auto) == kept(tick)

    if strategy in KERNELS:
        assert kept(auto) == kept(run_of([strategy], tmp_path / "fused", "fused"))
    else:
        (name,) = [k.config["strategy_id"] for k in auto.manifest.strategies]
        with pytest.raises(ConfigError, match=f"engine fused: {name} cannot be fused") as caught:
            run_of([strategy], tmp_path / "fused", "fused")
        assert (f"{strategy}_kernel" in caught.value.cure) == (f"{strategy}_kernel" in REGISTRY)
        assert not (tmp_path / "fused").exists()


@pytest.mark.slow
def test_a_run_made_by_one_engine_is_the_run_of_another(tmp_path: Path) -> None:
    """All kernels together; asked for once more with another engine, the run is there already."""
    first = run_of(KERNELS, tmp_path / "run", "fused")
    again = [run_of(KERNELS, tmp_path / "run", engine) for engine in ENGINES]

    assert len(KERNELS) == len(first.manifest.strategies)
    assert {first.manifest.run_id} == {run.manifest.run_id for run in again}


@given(all_events(), st.integers(1, 9))
def test_how_many_ticks_are_looked_at_together_changes_nothing(
    events: EventBatch, most: int
) -> None:
    """Strategies that use every feature: effects, report and state."""
    said = []
    for rows_max, many in ((None, MANY_ROWS), (1, MANY_ROWS), (most, MANY_ROWS), (None, 1)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(view, "MANY_ROWS", many)  # from so many on, numbered only where asked
            engine = Engine(
                events.ticks.table, every_plan(), seed=7, sessions=SESSIONS, rows_max=rows_max
            )
            said.append((engine.process(events), engine.report(), state_bytes(engine.snapshot())))

    assert said[0] == said[1] == said[2] == said[3]


@pytest.mark.parametrize(("engine", "calls"), [("tick", 300), ("fused", 1), ("auto", 1)])
def test_tick_is_one_tick_a_call_and_fused_a_batch(engine: str, calls: int) -> None:
    """Of the same driver, which sees a row at a time, or all of them."""
    prepared = prepare(load_strategies(["momentum_kernel"]))
    driver = prepared.plans[0].driver
    assert driver is not None
    rows: list[tuple[int, int]] = []

    def watched(*given: Any) -> tuple[int, int]:
        rows.append((given[5], given[6]))
        return driver(*given)

    plan = msgspec.structs.replace(prepared.plans[0], driver=watched)
    with open_recording(DEMO) as recording:
        events = next(iter(recording.batches(batch_rows=300)))
    Engine(events.ticks.table, [plan], rows_max=rows_max_of(engine, prepared)).process(events)

    assert [(0, 300 // calls)] * calls == rows


def test_the_python_face_takes_an_engine(tmp_path: Path) -> None:
    """A backtest and a sweep; what is wrong is refused with the nearest word."""
    with pytest.raises(ConfigError, match="expected auto, tick or fused, was 'tik'") as caught:
        pt.backtest(DEMO, "momentum_kernel", engine="tik", out=tmp_path / "run")
    assert "did you mean 'tick'?" == caught.value.cure
    assert not (tmp_path / "run").exists()
    with pytest.raises(ConfigError, match="engine fused: momentum cannot be fused"):
        pt.sweep(DEMO, "momentum", {"threshold": [0.1, 0.2]}, engine="fused")


@pytest.mark.slow
def test_the_command_line_takes_an_engine(cli: Cli, tmp_path: Path) -> None:
    """The digests are those of any other; what cannot be fused ends with exit code 2."""
    given = ("backtest", DEMO, "-s", "momentum_kernel", "--set", "threshold=0.001", "--json",
             "--end", str(END_NS))  # fmt: skip
    said = [json.loads(cli(*given, "--engine", e, "--out", tmp_path / e).stdout) for e in ENGINES]
    refused = cli(*given, "-s", "sma_cross", "--engine", "fused", "--out", tmp_path / "refused")

    assert said[0]["signals"] > 0
    assert said[0]["digests"] == said[1]["digests"] == said[2]["digests"]
    assert 2 == refused.returncode
    assert "engine fused: sma_cross cannot be fused" in refused.stderr
    assert "sma_cross_kernel is one" in refused.stderr
