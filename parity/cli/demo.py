"""`make demo`: the main job end to end, on the shipped recording and a broker of its own.

Backtest, produce, paper run, SIGKILL in the middle, restart, verify, diff. Each claim on the screen
is computed from what was written and published, and a claim that does not hold ends in exit 1.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console
from rich.padding import Padding
from rich.table import Table

from parity.model.errors import ParityError

if TYPE_CHECKING:
    from parity.face import Run
    from parity.proof.diff import Comparison
    from parity.recording.reader import Recording
    from parity.testing.broker import Broker

ROOT: Final = Path(__file__).resolve().parents[2]
TICKS_TOPIC: Final = "demo.ticks"
SIGNALS_TOPIC: Final = "paper.signals.raw"
PACE: Final = 16_000.0  # ticks a second: slow enough for a kill to fall in the middle
KILL_AT: Final = 0.45  # of the ticks
WAIT_S: Final = 120.0
CHANGED: Final = "momentum_py.threshold=0.003"

console = Console(highlight=False, width=None if sys.stdout.isatty() else 100)


class DemoFailed(ParityError):
    """A claim of the demo did not hold."""

    exit_code = 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; returns the exit code."""
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--broker", default="auto", choices=("auto", "kafka", "mock", "external"))
    parser.add_argument("--keep", type=Path, help="keep the runs in this new folder")
    chosen = parser.parse_args(arguments)
    try:
        if chosen.keep is not None:
            chosen.keep.mkdir(parents=True)
            _demo(chosen.keep, chosen.broker)
        else:
            with tempfile.TemporaryDirectory(prefix="parity-demo-") as folder:
                _demo(Path(folder), chosen.broker)
    except ParityError as error:
        console.print(f"[red]error:[/red] {error}", markup=True)
        return error.exit_code
    except KeyboardInterrupt:
        console.print("interrupted; nothing is left behind")
        return 130
    return 0


def _demo(folder: Path, prefer: Any) -> None:
    import parity as pt
    from parity.cli.logs import log_to_stderr
    from parity.testing.broker import start_broker

    log_to_stderr("ERROR")
    recording_path = ROOT / "recordings" / "demo"
    strategies = ROOT / "strategies" / "configs" / "demo.yaml"
    _step(1, "backtest of the shipped recording, five strategies")
    recording = pt.open(recording_path)
    backtest = pt.backtest(recording, strategies, out=folder / "backtest")
    _check_golden(backtest)
    _check_tiers(backtest)
    _step(2, "the same ticks through a broker: a paper run records, decides and publishes")
    with start_broker(prefer=prefer, progress=_note) as broker:
        console.print(f"   served by [bold]{broker.describe}[/bold]")
        with ThreadPoolExecutor(1) as pool:
            paper = _paper(
                broker, pool, folder / "paper", recording_path, strategies, recording.tick_rows
            )
        published = _check_published(broker, paper)
    _check_recorded(recording, paper)
    _step(4, "proof: the run's recording is replayed in a fresh process")
    verdict = _verify(folder / "paper")
    _check_same_candidates(backtest, paper)
    other = pt.backtest(recording, strategies, out=folder / "other", overrides=[CHANGED])
    difference = pt.diff(backtest, other)
    _show_divergence(difference)
    _step(5, "the table")
    _show_table(backtest, paper, verdict, published)


# ---- step 1 --------------------------------------------------------------------------------


def _check_golden(run: Run) -> None:
    golden = json.loads((ROOT / "recordings" / "demo-golden" / "digests.json").read_text())
    found = run.summary()["digests"]
    if found != golden["digests"]:
        raise DemoFailed(
            f"the backtest's digests are {found}, the golden says {golden['digests']}",
            cure="run `parity diff` against an older version; CHANGELOG names moved goldens",
        )
    _held(f"golden signals: the same digests, {run.summary()['signals']} signals")


def _check_tiers(run: Run) -> None:
    strategies = run.summary()["strategies"]
    python, kernel = strategies["momentum_py"]["digests"], strategies["momentum_kernel"]["digests"]
    tiers = Table("   tier", "candidates", "decisions", box=None, padding=(0, 2))
    tiers.add_row("   momentum, Python processor", *(d[:16] for d in python.values()))
    tiers.add_row("   momentum, numba kernel", *(d[:16] for d in kernel.values()))
    console.print(tiers)
    if python != kernel:
        raise DemoFailed("momentum gives two digests in its two tiers")
    _held("one strategy, two tiers, one digest")


# ---- steps 2 and 3 -------------------------------------------------------------------------


def _paper(
    broker: Broker,
    pool: ThreadPoolExecutor,
    run: Path,
    recording: Path,
    strategies: Path,
    ticks: int,
) -> Run:
    from parity.face import Run
    from parity.recording.runs import RunFolder

    broker.create_topic(TICKS_TOPIC, 1)
    broker.create_topic(SIGNALS_TOPIC, 1)
    log = run.with_suffix(".log")
    command = [
        *(sys.executable, "-m", "parity", "paper", str(run)),
        *("--strategies", str(strategies), "--topics", TICKS_TOPIC, "--from", "earliest"),
        *("--instrument-table", str(recording)),
        *("--bootstrap-servers", broker.bootstrap_servers),
        "--json",
    ]
    environment = {**os.environ, "PARITY_CHECKPOINT_TICKS": "5000"}
    first = _start(command, environment, log)
    producing = pool.submit(_produce, recording, broker.bootstrap_servers)
    at = _wait_for_ticks(first, run / "recording" / "journal", round(ticks * KILL_AT), log)
    first.send_signal(signal.SIGKILL)
    first.wait()
    _step(3, f"kill -9 with about {at:,} of {ticks:,} ticks recorded; then started again")
    producing.result(WAIT_S)
    second = _start([*command, "--exit-at-end"], environment, log)
    if second.wait(WAIT_S) != 0:
        raise DemoFailed(f"the restarted run ended with {second.returncode}:\n{_tail(log)}")
    finished = Run(RunFolder(run))
    resumed = finished.controls.filter(verb="resumed")
    if len(resumed) != 1:
        raise DemoFailed(f"the run was to resume once, it says {len(resumed)} times")
    detail = json.loads(resumed["detail"][0])
    _held(f"resumed behind seq {detail['last_seq']:,}, from the checkpoint at "
          f"{detail['checkpoint']:,}; {detail['torn_bytes']} torn bytes")  # fmt: skip
    return finished


def _produce(recording: Path, bootstrap: str) -> None:
    from parity.live.produce import produce
    from parity.recording.reader import open_recording

    with open_recording(recording) as source:
        produce(source, TICKS_TOPIC, bootstrap=bootstrap, pace=PACE)


def _start(command: list[str], environment: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as file:
        return subprocess.Popen(command, stdout=file, stderr=file, env=environment)


def _wait_for_ticks(process: subprocess.Popen[bytes], journal: Path, ticks: int, log: Path) -> int:
    from parity.model.ticks import TICK_DTYPE

    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise DemoFailed(f"the paper run ended early with {process.returncode}:\n{_tail(log)}")
        kept = sum(file.stat().st_size for file in journal.glob("*.wal")) // TICK_DTYPE.itemsize
        if kept >= ticks:
            return kept
        time.sleep(0.01)
    raise DemoFailed(f"the paper run did not record {ticks} ticks within {WAIT_S:g} s")


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-20:])


def _check_published(broker: Broker, paper: Run) -> int:
    from parity.testing.broker.admin import read_topic

    messages = read_topic(broker.bootstrap_servers, SIGNALS_TOPIC)
    numbers = [int(headers["signal_no"]) for _, headers, _ in messages]
    approved = paper.signals["signal_no"].to_list()
    if sorted(numbers) != sorted(approved) or len(set(numbers)) != len(numbers):
        raise DemoFailed(
            f"{len(approved)} signals were approved, {len(numbers)} published, "
            f"{len(numbers) - len(set(numbers))} of them twice"
        )
    _held(f"{len(numbers)} signals approved, {len(numbers)} published, none twice, none missing")
    return len(numbers)


def _check_recorded(recording: Recording, paper: Run) -> None:
    import numpy as np

    from parity.recording.reader import open_recording

    names = ("instrument_token", "ts_event", "price_int", "quantity_int", "side", "trade_id")
    with open_recording(paper.path / "recording") as own:
        recorded = _columns(own, (*names, "offset"))
        sent = _columns(recording, names)
    offsets = recorded["offset"]
    whole = bool((offsets == np.arange(len(offsets))).all())
    same = all(np.array_equal(sent[name], recorded[name]) for name in names)
    if not (whole and same):
        raise DemoFailed("the recording is not what was produced")
    _held(f"{len(offsets):,} ticks recorded once each, in order, equal to what was produced")


def _columns(recording: Recording, names: Sequence[str]) -> dict[str, Any]:
    import numpy as np

    batches = list(recording.batches(columns=list(names)))
    return {n: np.concatenate([b.ticks.column(n) for b in batches]) for n in names}


# ---- step 4 --------------------------------------------------------------------------------


def _verify(run: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "parity", "verify", str(run), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=WAIT_S, check=False)
    if done.returncode != 0:
        raise DemoFailed(f"verify ended with {done.returncode}: {done.stdout}{done.stderr}")
    verdict: dict[str, Any] = json.loads(done.stdout)
    covered = ", ".join(f"{count:,} {name}" for name, count in verdict["covered"].items())
    _held(f"verify: [bold green]{verdict['verdict']}[/bold green] ({covered})")
    return verdict


def _check_same_candidates(backtest: Run, paper: Run) -> None:
    a = backtest.summary()["digests"]
    b = paper.summary()["digests"]
    if a != b:
        raise DemoFailed(f"backtest {a} and paper {b} disagree")
    _held(f"backtest and paper gave the same candidates ({a['candidates'][:16]}) and decisions")


def _show_divergence(found: Comparison) -> None:
    first = found.first_divergence
    if first is None:
        raise DemoFailed(f"--set {CHANGED} changed nothing")
    console.print(f"   with [bold]--set {CHANGED}[/bold] the first signal that moved:")
    from parity.cli.verify import divergence_panel

    console.print(Padding(divergence_panel(first, "as configured", "changed"), (0, 0, 0, 3)))


# ---- step 5 --------------------------------------------------------------------------------


def _show_table(backtest: Run, paper: Run, verdict: dict[str, Any], published: int) -> None:
    summary = paper.summary()
    table = Table(
        "strategy", title=f"paper run of {summary['ticks']:,} ticks", title_justify="left"
    )
    for heading in ("candidates", "signals", "fills", "PnL"):
        table.add_column(heading, justify="right")
    table.add_column("drops by reason")
    table.add_column("digest")
    for name, one in summary["strategies"].items():
        table.add_row(
            name,
            f"{one['candidates']:,}",
            f"{one['signals']:,}",
            f"{one['fills']:,}",
            f"{float(one['pnl']):,.2f}",
            "\n".join(f"{reason} {count:,}" for reason, count in one["drops"].items()),
            one["digests"]["decisions"][:12],
        )
    console.print(table)
    console.print(
        f"   {published:,} signals published · {summary['fills']:,} paper fills · backtest "
        f"{backtest.summary()['ticks_per_second']:,} ticks/s with five strategies\n"
        f"   candidates {summary['digests']['candidates']}\n"
        f"   decisions  {summary['digests']['decisions']}\n"
        f"   verdict    [bold green]{verdict['verdict']}[/bold green]"
    )


def _step(number: int, text: str) -> None:
    console.print(f"[bold]{number}[/bold]  {text}")


def _note(text: str) -> None:
    console.print(f"   {text}", style="dim", markup=False)


def _held(text: str) -> None:
    console.print(f"   [green]✓[/green] {text}")


if __name__ == "__main__":
    sys.exit(main())
