"""What an import is given: files by name, folder or glob, and a map of columns.

And what its files need of the process, which may open only so many.
"""

from __future__ import annotations

import glob
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from parity.model.errors import ConfigError, InputRefused

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
