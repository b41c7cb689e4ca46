"""Entry points: strategies and validators that an installed package registers by name.

A configuration names them by that name alone; it can never name a module. The module is read as a
file of its own and run from that text, which a run keeps, so what is proved later is what ran.
"""

from __future__ import annotations

import importlib.util
from importlib import metadata
from pathlib import Path
from typing import Final, NamedTuple

from parity.model.errors import ConfigError
from parity.settings.pyfile import PythonFile, load_python_file

STRATEGIES: Final = "parity.strategies"
VALIDATORS: Final = "parity.validators"
_WORDS: Final = {STRATEGIES: "strategy", VALIDATORS: "validator"}


class Entry(NamedTuple):
    """What an entry point names: a thing in a file, and the file, loaded."""

    attribute: str
    file: PythonFile


def entry_names(group: str) -> list[str]:
    """Return the names that installed packages register in a group."""
    return sorted({point.name for point in metadata.entry_points(group=group)})


def load_entry(group: str, name: str) -> Entry:
    """Return what a name was registered for.

    Raises:
        ConfigError: nobody registered it, two did, or its module cannot be loaded.
    """
    what = f"{_WORDS[group]} {name!r}"
    points = {p.value: p for p in metadata.entry_points(group=group) if p.name == name}
    if len(points) != 1:
        said = f"is registered as {' and as '.join(sorted(points))}" if points else "is unknown"
        cure = (
            "uninstall one of them" if points else f"install the package that names it in {group}"
        )
        raise ConfigError(f"{what} {said}", cure=cure)
    (point,) = points.values()
    try:
        found = importlib.util.find_spec(point.module)
    except ImportError as error:
        raise ConfigError(f"{what}: {point.module}: {error}") from error
    if found is None or found.origin is None or not found.origin.endswith(".py"):
        raise ConfigError(f"{what}: {point.module} is no Python file", cure="mend its entry point")
    return Entry(point.attr, load_python_file(Path(found.origin), may_be_empty=True))
