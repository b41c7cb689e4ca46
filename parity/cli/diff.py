"""`parity diff`: where two runs first part, and why."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from parity.cli.console import counted, grouped, say, show, show_json, table_of
from parity.cli.options import Json, Servers, settings_of
from parity.model.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from parity.proof.against import Tolerance
    from parity.proof.diff import Comparison

EXAMPLE = (
    "Examples:\n\nparity diff runs/first runs/second\n\nparity diff runs/first runs/second --json"
    "\n\nparity diff runs/all --shard runs/a --shard runs/b"
    "\n\nparity diff runs/today --against old_runner.jsonl --tolerance time=5ms "
    "--tolerance price=0.05"
)
_UNITS: Final = {"": 1, "ns": 1, "us": 1_000, "ms": 1_000_000, "s": 1_000_000_000}
_TIME: Final = re.compile(r"(\d+)(ns|us|ms|s|)")


def command(
    a: Annotated[Path, typer.Argument(metavar="A", help="A run.")],
    b: Annotated[
        Path | None, typer.Argument(metavar="[B]", help="The run to compare it with.")
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            "--against",
            metavar="FILE|TOPIC",
            help="Instead of B: signals that another runner published, as JSON lines or a topic.",
        ),
    ] = None,
    tolerance: Annotated[
        list[str] | None,
        typer.Option(
            "--tolerance",
            metavar="NAME=VALUE",
            help="Of --against: time=5ms, price=0.05, quantity=1, confidence=any. Default: exact.",
        ),
    ] = None,
    shards: Annotated[
        list[Path] | None,
        typer.Option(
            "--shard",
            metavar="RUN",
            help="Instead of B: a run on some --partitions; all of them together. Repeatable.",
        ),
    ] = None,
    servers: Servers = None,
    as_json: Json = False,
) -> None:
    """Compare two runs record by record; name the first tick, strategy and field that differ.

    With --against the run's signals are held against another runner's, by instrument, side and
    time. With --shard it is held against the union of runs on partitions of the same topics.
    Exit code 0 means the same; 1 different or nothing compared.
    """
    if (b is not None) + (against is not None) + bool(shards) != 1:
        raise ConfigError(
            "diff: expected a second run, --against or --shard", cure="give one of the three"
        )
    if against is not None:
        _against(a, against, _tolerance(tolerance or []), servers, as_json)
        return
    if tolerance:
        raise ConfigError("--tolerance: it goes with --against", cure="runs are compared exactly")
    if b is not None:
        from parity.compose.proofs import diff

        _show(diff(a, b), a, str(b), as_json)
    else:
        from parity.compose.unions import diff_union

        _show(diff_union(a, shards or []), a, "the shards", as_json)


def _show(found: Comparison, a: Path, b: str, as_json: bool) -> None:
    if as_json:
        show_json(found.to_json())
    else:
        from rich.text import Text

        from parity.cli.verify import covered_words, divergence_panel

        word, style = ("same", "bold green") if found.same else ("different", "bold red")
        show(Text.assemble((word, style), f": {covered_words(found.covered)} compared"))
        if found.first_divergence is not None:
            show(divergence_panel(found.first_divergence, f"A {a}", f"B {b}"))
        cause = found.first_divergence.cause if found.first_divergence is not None else ""
        for line in found.changed:
            if line not in cause:
                say("changed: ", line, style="yellow")
    if not found.same:
        raise typer.Exit(1)


def _tolerance(given: Sequence[str]) -> Tolerance:
    from parity.proof.against import Tolerance

    found: dict[str, float | int | None] = {}
    for text in given:
        name, _, value = text.partition("=")
        names = ("time", "price", "quantity", "confidence")
        if name not in names:
            raise ConfigError(
                f"--tolerance: {text!r}: expected one of {', '.join(names)}",
                cure=did_you_mean(name, names),
            )
        if name == "time":
            match = _TIME.fullmatch(value)
            if match is None:
                raise ConfigError(
                    f"--tolerance time: expected ns, us, ms or s, was {value!r}", cure="time=5ms"
                )
            found["ts_event_ns"] = int(match[1]) * _UNITS[match[2]]
        else:
            found[name] = None if value == "any" else _number(name, value)
    return Tolerance(**found)  # type: ignore[arg-type]  # ts_event_ns is an int here


def _number(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise ConfigError(
            f"--tolerance {name}: expected a number of 0 or more, or any, was {text!r}",
            cure=f"write {name}=0.05",
        )
    return value


def _against(
    run: Path, other: str, tolerance: Tolerance, servers: str | None, as_json: bool
) -> None:
    from parity.compose.others import against

    settings = settings_of(bootstrap_servers=servers)
    client = settings.client_config()
    found = against(run, other, tolerance, servers=settings.bootstrap_servers, librdkafka=client)
    if as_json:
        show_json(found.to_json())
    else:
        from rich.text import Text

        from parity.cli.verify import divergence_panel

        word, style = ("same", "bold green") if found.same else ("different", "bold red")
        covered = found.covered
        words = f"{counted(covered['matched'], 'signal')} matched"
        show(Text.assemble((word, style), f": {words}"))
        counts = table_of(
            "", "signals", "without a partner", right=("signals", "without a partner")
        )
        counts.add_row(str(run), grouped(covered["signals"]), grouped(found.only_run))
        counts.add_row(other, grouped(covered["messages"]), grouped(found.only_against))
        show(counts)
        for name, count in found.unequal.items():
            show(f"{name} differs in {counted(count, 'pair')}")
        if found.first_divergence is not None:
            show(divergence_panel(found.first_divergence, "the run", "the other"))
        for pair in found.names:
            if pair["run"] != pair["against"]:
                words = f"{pair['against']} is {pair['run']} in {counted(pair['signals'], 'pair')}"
                say("note: ", words)
        for reason, count in found.left_out.items():
            say("not compared: ", f"{counted(count, 'message')}: {reason}", style="yellow")
    if not found.same:
        raise typer.Exit(1)
