"""The instrument table that a caller gives: one made already, a JSON file, or a recording's.

Never here: an importer; a live run reads its table at its start, and pays for nothing else.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from parity.core.calendars import check_calendars
from parity.model.errors import ConfigError
from parity.model.instruments import InstrumentTable
from parity.recording.manifest import load_manifest


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"key {twice!r} stands twice in one object")
    return found


def _refused(word: str) -> Any:
    raise ValueError(f"{word} is no number")


def given_table(table: InstrumentTable | Path | str) -> InstrumentTable:
    """Return the table of --instrument-table: a table, a JSON file of one, or a recording.

    Raises:
        ConfigError: it is none, or names a calendar that is not known.
    """
    if isinstance(table, InstrumentTable):
        check_calendars(table)
        return table
    path = Path(table)
    if path.is_dir():
        return load_manifest(path).table
    try:
        rows = json.loads(path.read_bytes(), object_pairs_hook=_distinct, parse_constant=_refused)
    except OSError as error:
        raise ConfigError(f"--instrument-table: {path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        line = f":{error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise ConfigError(f"--instrument-table: {path}{line}: expected JSON ({error})") from None
    listed = rows.get("instruments") if isinstance(rows, dict) else rows  # or a whole manifest
    if not isinstance(listed, list):
        raise ConfigError(
            f"--instrument-table: {path}: expected a list of instruments",
            cure="see the manifest.json of a recording for one",
        )
    try:
        made = InstrumentTable.from_json(rows)
        check_calendars(made)
    except ConfigError as error:
        cure = error.cure or "see the manifest.json of a recording for one"
        raise ConfigError(f"--instrument-table: {path}: {error.message}", cure=cure) from None
    return made
