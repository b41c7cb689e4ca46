"""`parity check`: strategy files read, built and linted before anything runs them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from parity.cli.console import counted, say, show, show_json, table_of, told
from parity.cli.options import Json, Overrides, recording_path, specs_of
from parity.model.errors import ConfigError

if TYPE_CHECKING:
    from rich.table import Table

    from parity.proof.lint import Finding
    from parity.settings.drafts import StrategySpec

EXAMPLE = "Examples:\n\nparity check\n\nparity check strategies/configs/demo.yaml --json"


def command(
    files: Annotated[
        list[str] | None,
        typer.Argument(metavar="[FILE…]", help="Strategy files, folders, or shipped strategies."),
    ] = None,
    overrides: Overrides = None,
    on: Annotated[
        Path | None,
        typer.Option(metavar="REC", help="Check on a recording's first ticks, not synthetic ones."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Check strategies: keys, values, lint, that they start, and the contract on real runs.

    The contract: the same twice and tick by tick, no look ahead, silent before warm-up, an exact
    history, nothing changed that it was shown, and a snapshot that brings it back.

    Without a file, list the shipped strategies. Exit code 2 for a wrong configuration; 1 for
    a strategy that loads but fails a check.
    """
    if not files:
        _list_shipped(as_json)
        return
    try:
        specs = specs_of(files, overrides)
    except ConfigError:
        _show_findings(_lint_named(files))  # may be the reason, and is worth knowing in any case
        raise
    from parity.compose.checks import check

    with told("check") as tell:
        findings = check(
            specs, on=recording_path(on) if on is not None else None, progress=tell
        ).findings
    errors = [f for f in findings if f.severity == "error"]
    if as_json:
        show_json(
            {
                "ok": not errors,
                "strategies": [_strategy(spec) for spec in specs],
                "findings": [_finding(f) for f in findings],
            }
        )
    else:
        show(_table(specs))
        _show_findings(findings)
        warnings = len(findings) - len(errors)
        show(
            f"{counted(len(specs), 'strategy')}, {counted(len(errors), 'error')}, "
            f"{counted(warnings, 'warning')}"
        )
    if errors:
        raise typer.Exit(1)


def _lint_named(files: Sequence[str]) -> list[Finding]:
    from parity.compose.checks import near
    from parity.proof.lint import lint_source
    from parity.settings.strategies import NO_STRATEGIES

    named = [Path(file) for file in files]
    python = [p for p in named if p.suffix == ".py" and p.is_file()]
    inside = [p for folder in named if folder.is_dir() for p in sorted(folder.glob("*.py"))]
    python += [p for p in inside if not p.name.startswith(NO_STRATEGIES)]
    return [
        finding
        for path in python
        for finding in lint_source(path.read_text("utf-8", errors="replace"), near(path))
        if finding.rule != "syntax"  # the loader says it, with the same place
    ]


def _finding(finding: Finding) -> dict[str, Any]:
    return {name: getattr(finding, name) for name in finding.__slots__}


def _strategy(spec: StrategySpec) -> dict[str, Any]:
    return {
        "strategy_id": spec.strategy_id,
        "strategy_type": spec.type.name,
        "kind": spec.type.kind,
        "where": spec.where,
        "enabled": spec.config.enabled,
        "brokers": list(spec.config.active_brokers),
        "instruments": list(spec.config.instrument_tokens) or "all",
        "on": spec.config.on,
        "parameters": spec.config.parameters,
    }


def _table(specs: Sequence[StrategySpec]) -> Table:
    table = table_of("strategy", "type", "instruments", "parameters")
    for spec in specs:
        tokens = ", ".join(map(str, spec.config.instrument_tokens)) or "all"
        table.add_row(
            f"{spec.strategy_id}{'' if spec.config.enabled else ' (disabled)'}\n{spec.where}",
            spec.type.name,
            f"{tokens} on {spec.config.on}",
            "\n".join(_lines(spec.config.parameters)) or "-",
        )
    return table


def _lines(parameters: dict[str, Any], prefix: str = "") -> list[str]:
    lines = []
    for name, value in parameters.items():
        if isinstance(value, dict):
            lines += _lines(value, f"{prefix}{name}.")
        else:
            lines.append(f"{prefix}{name}={value}")
    return lines


def _show_findings(findings: Sequence[Finding]) -> None:
    for finding in findings:
        style = "bold red" if finding.severity == "error" else "yellow"
        say(f"{finding.severity}: ", str(finding), style=style)


def _list_shipped(as_json: bool) -> None:
    from parity.model.parameters import REQUIRED
    from parity.settings.entries import STRATEGIES, VALIDATORS, entry_names
    from parity.strategies import REGISTRY

    shipped: dict[str, dict[str, Any]] = {
        name: {
            "doc": str(module.__doc__).split("\n", 1)[0],
            "parameters": {
                key: {
                    "default": None if one.default is REQUIRED else one.default,
                    "required": one.default is REQUIRED,
                    "expected": one.expected(),
                    "doc": one.doc,
                }
                for key, one in getattr(module, "PARAMETERS", {}).items()
            },
        }
        for name, module in REGISTRY.items()
    }
    registered = {group: entry_names(group) for group in (STRATEGIES, VALIDATORS)}
    if as_json:
        show_json({"shipped": shipped, "registered": registered})
        return
    table = table_of("shipped strategy", "parameter", "default", "expected", "what it is")
    for name, one in shipped.items():
        table.add_row(f"[bold]{name}", "", "", "", one["doc"])
        for key, parameter in one["parameters"].items():
            default = "required" if parameter["required"] else str(parameter["default"])
            table.add_row("", key, default, parameter["expected"], parameter["doc"])
        table.add_section()
    show(table)
    for group, names in registered.items():
        if names:
            show(f"registered in {group}: {', '.join(names)}")
