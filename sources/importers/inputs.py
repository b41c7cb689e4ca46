"""What an import is given: files by name, folder or glob, a map of columns, an instrument table.

And what its files need of the process, which may open only so many.
"""

from __future__ import annotations

import glob
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from parity.core.calendars import check_calendars
from parity.model.errors import ConfigError, InputRefused
from parity.model.instruments import InstrumentTable
from parity.recording.manifest import load_manifest

# What of a folder is taken for ticks; a file that is named outright may have any name.
_SUFFIXES: Final = (".parquet", ".csv", ".txt", ".tsv", ".feather", ".json", ".jsonl",
             ".ndjson", ".dbn")  # fmt: skip
# What Databento puts into a folder beside its files of ticks; hidden files are nobody's ticks.
_BESIDE: Final = frozenset({"condition.json", "manifest.json", "metadata.json", "symbology.json"})
_COMPRESSED: Final = (".gz", ".zst", ".bz2")
_OTHERS_OPEN: Final = 64  # that a process has open beside the files of an import


def parse_map(text: Mapping[str, str] | str | None) -> dict[str, str]:
    """Return a map from the text of --map ("price=px,quantity=#4"), or from a mapping.

    >>> parse_map("price=px,instrument_token==900001")
    {'price': 'px', 'instrument_token': '=900001'}
    """
    if text is None:
        return {}
    if not isinstance(text, str):
        return dict(text)
    pairs: dict[str, str] = {}
    for item in text.split(","):
        key, equals, value = item.partition("=")
        if not equals or not key.strip() or not value.strip():
            raise ConfigError(
                f"--map: expected column=name, was {item!r}", cure="such as price=px,quantity=qty"
            )
        if key.strip() in pairs:
            raise ConfigError(f"--map: {key.strip()} stands twice")
        pairs[key.strip()] = value.strip()
    return pairs


def expand(sources: Sequence[Path | str] | Path | str) -> list[Path]:
    """Return the files of sources in their order; a folder or glob counts in name order.

    Raises:
        InputRefused: a source has no file of ticks, or a file is given twice.
    """
    given = [sources] if isinstance(sources, Path | str) else list(sources)
    paths: list[Path] = []
    for source in given:
        path = Path(source)
        if path.is_dir():
            inside = [p for p in sorted(path.iterdir()) if p.is_file() and _may_hold_ticks(p)]
            inside = [p for p in inside if p.name[0] != "." and p.name not in _BESIDE]
        elif path.exists():
            inside = [path]
        else:
            inside = [Path(p) for p in sorted(glob.glob(str(source)))]
        if not inside:
            raise InputRefused(
                f"{source}: no file of ticks there",
                cure=f"give a file, a glob or a folder of {', '.join(_SUFFIXES)} or .zip",
            )
        paths += inside
    if not paths:
        raise ConfigError("import: expected at least one source, was none")
    for n, path in enumerate(paths):
        if path.resolve() in {p.resolve() for p in paths[:n]}:
            raise InputRefused(f"{path}: given twice", cure="name each file once")
    return paths


def _may_hold_ticks(path: Path) -> bool:
    suffixes = [s for s in path.suffixes if s not in _COMPRESSED]
    return bool(suffixes) and suffixes[-1] in (*_SUFFIXES, ".zip")


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"key {twice!r} stands twice in one object")
    return found


def _refused(word: str) -> Any:
    raise ValueError(f"{word} is no number")


def given_table(table: InstrumentTable | Path | str | None) -> InstrumentTable | None:
    """Return the table of --instrument-table: a table, a JSON file of one, or a recording.

    Raises:
        ConfigError: it is none, or names a calendar that is not known.
    """
    if table is None:
        return None
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


@contextmanager
def open_at_once(files: int) -> Iterator[None]:
    """Let the process open so many files at once, as a merge does, while this lasts.

    Args:
        files: how many are merged; sorted, each is closed before its sorted rows are read.

    Raises:
        ConfigError: the hard limit is lower.
    """
    try:
        import resource
    except ImportError:  # no such limits here
        yield
        return
    kind = resource.RLIMIT_NOFILE
    soft, hard = resource.getrlimit(kind)
    needed = files + _OTHERS_OPEN
    if soft == resource.RLIM_INFINITY or needed <= soft:
        yield
        return
    if hard != resource.RLIM_INFINITY and needed > hard:
        raise ConfigError(
            f"import: {files} files are merged, which opens {needed} at once; the limit is {hard}",
            cure=f"raise it (ulimit -Hn {needed}), or import files that follow each other in time "
            "in parts, the later ones with --append",
        )
    resource.setrlimit(kind, (needed, hard))
    try:
        yield
    finally:
        resource.setrlimit(kind, (soft, hard))
