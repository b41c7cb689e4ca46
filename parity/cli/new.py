"""`parity new`: a strategy that works, its test and its configuration, to be changed from there."""

from __future__ import annotations

import importlib.util
import keyword
import re
import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from parity.cli.console import say, show, show_json
from parity.cli.options import Json
from parity.cli.templates import (
    KERNEL,
    KERNEL_ROW,
    KERNEL_TEST,
    RULES,
    RULES_ROW,
    RULES_TEST,
    TIMERS,
    TIMERS_ROW,
    TIMERS_TEST,
)
from parity.model.errors import ConfigError, did_you_mean

EXAMPLE = "Examples:\n\nparity new my_rule\n\nparity new my_kernel --kind kernel --to strategies"
KINDS: Final = {
    "rules": (RULES, RULES_TEST, RULES_ROW),
    "kernel": (KERNEL, KERNEL_TEST, KERNEL_ROW),
    "timers": (TIMERS, TIMERS_TEST, TIMERS_ROW),
}


def command(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="What it is called: a name of Python.")
    ],
    kind: Annotated[
        str,
        typer.Option(
            metavar="rules|kernel|timers",
            help="A class in plain Python, one compiled, or one that is called at instants.",
        ),
    ] = "rules",
    to: Annotated[Path, typer.Option(metavar="FOLDER", help="Where the files go.")] = Path(),
    as_json: Json = False,
) -> None:
    """Write a working strategy, its test and a configuration, as a place to begin.

    Nothing that is there is overwritten.
    """
    if kind not in KINDS:
        raise ConfigError(
            f"--kind: no strategy of kind {kind!r} can be written", cure=did_you_mean(kind, KINDS)
        )
    names = (f"{name}.py", f"test_{name}.py", f"{name}.yaml")
    files = [to / one for one in names]
    _check(name, files)
    to.mkdir(parents=True, exist_ok=True)
    class_name = "".join(part.title() for part in name.split("_"))
    for file, text in zip(files, KINDS[kind], strict=True):
        whole = text.replace("NAME", name).replace("CLASS", class_name)
        with file.open("x", encoding="utf-8") as out:
            out.write(whole)
    rows = f"--strategies {files[0]} --strategies {files[2]}"
    steps = [f"parity check {files[0]} {files[2]}", f"pytest {files[1]}",
             f"parity backtest REC {rows}"]  # fmt: skip
    if as_json:
        show_json({"kind": kind, "files": [str(file) for file in files], "next": steps})
        return
    show(*(f"wrote {file}" for file in files))
    for step in steps:
        say("next: ", step, style="dim")


def _check(name: str, files: list[Path]) -> None:
    tamed = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    if not _fine(name):
        raise ConfigError(
            f"NAME: expected a name of Python in small letters, was {name!r}",
            cure=f"try {tamed}" if _fine(tamed) else "for example my_rule",
        )
    there = [file for file in files if file.exists()]
    if there:
        raise ConfigError(f"{there[0]}: it is there already", cure="take another name, or --to")
    if name in sys.stdlib_module_names or name == "parity" or importlib.util.find_spec(name):
        raise ConfigError(
            f"NAME: {name!r} is a module of Python or of an installed package",
            cure=f"take another, {name}_rule say: its test could not import it",
        )


def _fine(name: str) -> bool:
    return bool(re.fullmatch(r"[a-z][a-z0-9_]*", name)) and not keyword.iskeyword(name)
