"""The registry of formats, and the choice of one: by what a file shows, or refused with candidates.

A format lives in one file and is listed in `registry`. It says in `recognise` which of its layouts
a file may have and why; it never says so of a file it could misread. `--format auto` takes the only
format that recognises a file. Several, or none: the file is refused with what would have fitted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from parity.model.errors import InputRefused
from parity.model.instruments import InstrumentTable
from parity.sources.importers.shares import Shares
from parity.sources.importers.tables import refuse_bars

if TYPE_CHECKING:
    from parity.sources.importers.sample import Sample
    from parity.sources.importers.tables import TickFile

NAMES: Final = (
    "binance-spot", "binance-um", "binance-cm", "tardis", "databento", "nautilus",
    "freqtrade", "kite",
    "csv", "parquet", "parity",
)  # fmt: skip
FORMATS: Final = ("auto", *NAMES)
_CURE: Final = "take the file again from where it came"


class Options(msgspec.Struct, frozen=True):
    """What the user said about the files.

    Args:
        columns: --map: our column -> the file's name, `#n` or `=text`.
        tz: the zone of naive times, None refuses them.
        given: the --instrument-table, None where there is none; or the instruments of a recording
            that is appended to.
        sort: --sort.
        grows: whether instruments that are not in `given` are new ones; else they are refused.
        shares: how much of a file is read at a time, by how many files are merged.
    """

    columns: Mapping[str, str] = {}
    tz: str | None = None
    given: InstrumentTable | None = None
    grows: bool = False
    sort: str | None = None
    shares: Shares = msgspec.field(default_factory=Shares)


class Match(msgspec.Struct, frozen=True):
    """A layout that a file may have.

    Args:
        format: the name of the format.
        layout: "trades", "quotes", "aggTrades", "bookTicker" and so on.
        asked: whether it counts only where its format is named.
        why: what decided, for people ("7 columns and no header, named BTCUSDT-trades-…").
    """

    format: str
    layout: str
    why: str
    asked: bool = False


class Format(Protocol):
    """One file format that people have ticks in."""

    name: str

    def recognise(self, sample: Sample, options: Options) -> Sequence[Match]:
        """Return the layouts this file may have: none where it is not of this format."""

    def open(self, sample: Sample, match: Match | None, options: Options) -> TickFile:
        """Open the file; without a match, refuse it and say what is missing."""


def registry() -> Mapping[str, Format]:
    """Return every format by its name."""
    # Loaded when used: pyarrow is heavy, and `--help` needs none of it.
    from parity.sources.importers import (
        binance,
        csv,
        databento,
        exported,
        freqtrade,
        kite,
        nautilus,
        parquet,
        tardis,
    )  # fmt: skip

    found: list[Format] = [*binance.FORMATS, tardis.FORMAT, databento.FORMAT, nautilus.FORMAT]
    found += [freqtrade.FORMAT, kite.FORMAT, csv.FORMAT, parquet.FORMAT, exported.FORMAT]
    return {one.name: one for one in found}


def open_file(sample: Sample, format: str, options: Options) -> tuple[TickFile, Match]:
    """Open a file of ticks as a named format, or as the only one that recognises it ("auto").

    Raises:
        InputRefused: no format fits, or several; the candidates are named.
    """
    formats = registry()
    wanted = list(formats.values()) if format == "auto" else [formats[format]]
    if not sample.start:
        raise InputRefused(f"{sample.path}: expected a file of ticks, was empty", cure=_CURE)
    names = sample.header or (sample.schema.names if sample.schema is not None else [])
    refuse_bars(sample.path, names)
    found = [m for one in wanted for m in one.recognise(sample, options)]
    if format == "auto":
        found = [m for m in found if not m.asked]
    if len(found) == 1:
        match = found[0]
        return formats[match.format].open(sample, match, options), match
    if len(found) > 1:
        several = "; ".join(f"{m.format} {m.layout} ({m.why})" for m in found)
        names = list(dict.fromkeys(m.format for m in found))
        cure = "say which it is: " + " or ".join(f"--format {n}" for n in names)
        if len(names) == 1:
            cure = "give the file the name it had at its source, which says which layout it is"
        raise InputRefused(f"{sample.path}: could be {several}", cure=cure)
    if format == "auto":
        # The formats of our own names say best what is missing.
        format = {"text": "csv", "parquet": "parquet"}.get(sample.kind, format)
    if format == "auto":
        raise InputRefused(
            f"{sample.path}: no format recognises it ({sample.kind})",
            cure=f"say --format {', '.join(NAMES)}; docs/import.md shows each",
        )
    opened = formats[format].open(sample, None, options)
    return opened, Match(format, opened.layout, f"--format {format}")
