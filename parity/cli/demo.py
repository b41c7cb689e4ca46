"""`make demo`: the main job end to end, on the shipped recording and a broker of its own.

Backtest, produce, paper run, an outage, the operator's word, SIGKILL in the middle, restart,
verify, diff. Each claim on the screen is computed from what was written and published, and a claim
that does not hold ends in exit 1. The paper run itself is in `demo_live`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich.padding import Padding
from rich.table import Table

from parity.cli.console import table_of
from parity.cli.demo_console import DemoFailed, console, held, note, step
from parity.cli.demo_live import PAUSED, WAIT_S, run_on_paper
from parity.cli.verify import covered_words
from parity.model.errors import ParityError

if TYPE_CHECKING:
    from parity.face import Run
    from parity.proof.diff import Comparison

ROOT: Final = Path(__file__).resolve().parents[2]
CHANGED: Final = "momentum_py.threshold=0.003"


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
    step(1, "backtest of the shipped recording, five strategies")
    recording = pt.open(recording_path)
    backtest = pt.backtest(recording, strategies, out=folder / "backtest")
    _check_golden(backtest)
    _check_tiers(backtest)
    step(2, "the same ticks through a broker, on two partitions: a paper run records and publishes")
    with start_broker(prefer=prefer, progress=note) as broker:
        console.print(f"   served by [bold]{broker.describe}[/bold]")
        paper, published = run_on_paper(broker, folder / "paper", recording, strategies)
    step(4, "proof: the run's recording is replayed in a fresh process")
    verdict = _verify(folder / "paper")
    _check_same_candidates(backtest, paper)
    _check_same_decisions(pt.backtest(paper.path / "recording", strategies), paper)
    other = pt.backtest(recording, strategies, out=folder / "other", overrides=[CHANGED])
    difference = pt.diff(backtest, other)
    _show_divergence(difference)
    step(5, "the table")
    _show_table(backtest, paper, verdict, published)


# ---- step 1 --------------------------------------------------------------------------------


def _check_golden(run: Run) -> None:
    from parity.proof.golden import read_golden

    golden = read_golden(ROOT / "recordings" / "demo-golden")
    found = run.summary()["digests"]
    if found != golden.digests:
        raise DemoFailed(
            f"the backtest's digests are {found}, the golden says {golden.digests}",
            cure="see what moved: parity golden check recordings/demo-golden; CHANGELOG says why",
        )
    held(f"golden signals: the same digests, {run.summary()['signals']} signals")


def _check_tiers(run: Run) -> None:
    strategies = run.summary()["strategies"]
    python, kernel = strategies["momentum_py"]["digests"], strategies["momentum_kernel"]["digests"]
    tiers = Table("   tier", "candidates", "decisions", box=None, padding=(0, 2))
    tiers.add_row("   momentum, Python processor", *(d[:16] for d in python.values()))
    tiers.add_row("   momentum, numba kernel", *(d[:16] for d in kernel.values()))
    console.print(tiers)
    if python != kernel:
        raise DemoFailed("momentum gives two digests in its two tiers")
    held("one strategy, two tiers, one digest")


# ---- step 4 --------------------------------------------------------------------------------


def _verify(run: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "parity", "verify", str(run), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=WAIT_S, check=False)
    if done.returncode != 0:
        raise DemoFailed(f"verify ended with {done.returncode}: {done.stdout}{done.stderr}")
    verdict: dict[str, Any] = json.loads(done.stdout)
    covered = covered_words(verdict["covered"])
    held(f"verify: [bold green]{verdict['verdict']}[/bold green] ({covered})")
    return verdict


def _check_same_candidates(backtest: Run, paper: Run) -> None:
    """Whatever the order in which two partitions came, an instrument gives the same candidates."""
    ours, theirs = (run.candidates.drop("seq") for run in (backtest, paper))
    keys = ("strategy_id", "instrument_token")
    never_paused = {k: found for k, found in ours.group_by(keys, maintain_order=True)
                    if k[0] != PAUSED}  # fmt: skip
    for key, found in never_paused.items():
        if not found.equals(theirs.filter(**dict(zip(keys, key, strict=True)))):
            raise DemoFailed(f"backtest and paper run disagree about the candidates of {key}")
    count = sum(map(len, never_paused.values()))
    held(
        f"the {count:,} candidates of strategies nobody paused: as in the backtest, each instrument"
    )


def _check_same_decisions(again: Run, paper: Run) -> None:
    ours, theirs = (run.summary()["strategies"] for run in (again, paper))
    for name in ours.keys() - {PAUSED}:
        if ours[name]["digests"] != theirs[name]["digests"]:
            raise DemoFailed(f"{name}: a backtest of the run's recording decides otherwise")
    held("a backtest of the run's own recording: their candidates and decisions, bit for bit")


def _show_divergence(found: Comparison) -> None:
    first = found.first_divergence
    if first is None:
        raise DemoFailed(f"--set {CHANGED} changed nothing")
    console.print(f"   with [bold]--set {CHANGED}[/bold] the first signal that moved:")
    from parity.cli.verify import divergence_panel

    console.print(
        Padding(divergence_panel(first, "as configured", "changed"), (0, 0, 0, 3), expand=False)
    )


# ---- step 5 --------------------------------------------------------------------------------


def _show_table(backtest: Run, paper: Run, verdict: dict[str, Any], published: int) -> None:
    summary = paper.summary()
    console.print(f"   paper run of {summary['ticks']:,} ticks")
    numbers = ("candidates", "signals", "fills", "PnL")
    table = table_of("strategy", *numbers, "drops by reason", "digest", right=numbers)
    for name, one in summary["strategies"].items():
        table.add_row(
            name,
            f"{one['candidates']:,}",
            f"{one['signals']:,}",
            f"{one['fills']:,}",
            f"{float(one['pnl']):,.2f}",
            "\n".join(f"{reason} {count:,}" for reason, count in one["drops"].items()),
            one["digests"]["decisions"][:8],
        )
    console.print(Padding(table, (0, 0, 0, 3), expand=False))
    console.print(
        f"   {published:,} signals published · {summary['fills']:,} paper fills · backtest "
        f"{backtest.summary()['ticks_per_second']:,} ticks/s with five strategies\n"
        f"   candidates {summary['digests']['candidates']}\n"
        f"   decisions  {summary['digests']['decisions']}\n"
        f"   verdict    [bold green]{verdict['verdict']}[/bold green]"
    )


if __name__ == "__main__":
    sys.exit(main())
