"""Extension columns: what a venue sends beyond the tick columns, declared in the instrument table.

A tick of such a table is a record of `TickColumns.dtype`: the tick columns, `present` (bit k says
that the k-th extension is there), and one int64 per extension, 0 where absent. Nothing here knows
a venue: which names there are is the table's business.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np

from parity.model.errors import ConfigError, did_you_mean
from parity.model.ticks import COLUMNS, DERIVED, SCALED, TICK_DTYPE

KINDS: Final = ("price", "quantity", "integer", "text")
PRESENT: Final = "present"
EXTENSIONS_MAX: Final = 64  # as many as `present` has bits
WORDS_MAX: Final = 65_536
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,62}", re.ASCII)
# What a tick has already, here, on the wire, in a CSV map or in a view of the same rows.
_TAKEN: Final = frozenset(
    (*COLUMNS, *DERIVED, PRESENT, "inst", "symbol", "buyer_maker", "type", "data", "extensions")
)


class Extension(msgspec.Struct, frozen=True):
    """One extension column.

    Args:
        name: its name in Parquet, on the wire and to strategies: small letters, digits and `_`.
        kind: "price" or "quantity" (exact, at the instrument's scale), "integer" (int64), or
            "text" (one of `words`; in memory its position there).
        words: of a text column, all that it can say.

    Raises:
        ConfigError: a name that is taken or cannot be one, a kind or words that do not fit.
    """

    name: str
    kind: str
    words: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        where = f"extension {self.name!r}"
        if not _NAME.fullmatch(self.name) or self.name.endswith("_int"):
            raise ConfigError(
                f"{where}: expected small letters, digits and _ , and no _int at the end"
            )
        if self.name.startswith("has_"):
            raise ConfigError(f"{where}: has_ before a name asks whether a value is there")
        if self.name in _TAKEN:
            raise ConfigError(f"{where}: every tick has a column of that name already")
        if self.kind not in KINDS:
            raise ConfigError(
                f"{where}: kind {self.kind!r} is not known", cure=did_you_mean(self.kind, KINDS)
            )
        if self.words and self.kind != "text":
            raise ConfigError(f"{where}: only a text column has words, its kind is {self.kind}")
        if len(self.words) > WORDS_MAX:
            raise ConfigError(
                f"{where}: has {len(self.words)} different words, at most {WORDS_MAX} can be kept",
                cure="leave the column out, or declare one that says less",
            )
        if len(set(self.words)) < len(self.words):
            raise ConfigError(f"{where}: a word stands twice")

    @property
    def scaled(self) -> bool:
        """Whether it is a price or a quantity, with a scale and a derived float64."""
        return self.kind in ("price", "quantity")

    @property
    def field(self) -> str:
        """The name of its integers in memory."""
        return f"{self.name}_int" if self.scaled else self.name


def forms(name: str) -> dict[str, str]:
    """Return the columns a strategy may read of an extension, each with its type.

    >>> forms("average_price")
    {'average_price': 'float64', 'average_price_int': 'int64', 'has_average_price': 'boolean'}
    """
    return {name: "float64", f"{name}_int": "int64", f"has_{name}": "boolean"}


class TickColumns(NamedTuple):
    """The columns that the ticks of one instrument table have.

    Attributes:
        dtype: of one record; TICK_DTYPE itself where there is no extension.
        names: of all integer columns, in the record's order.
        known: the same as a set.
        scaled: integer column -> (name in Parquet and as derived float64, which scale).
        derived: derived float64 -> integer column.
        sources: every other name of a column (`forms`) -> the integer column it is made of.
        stored: integer column -> name in Parquet; `present` is not stored, nulls say it.
        extensions: integer column -> the extension.
        bits: integer column -> the bit of `present` that says it is there.
    """

    dtype: np.dtype[Any]
    names: tuple[str, ...]
    known: frozenset[str]
    scaled: dict[str, tuple[str, str]]
    derived: dict[str, str]
    sources: dict[str, str]
    stored: dict[str, str]
    extensions: dict[str, Extension]
    bits: dict[str, int]

    def extension(self, name: str) -> Extension:
        """Return the extension of a name; raises ConfigError naming those there are."""
        found = self.extensions.get(f"{name}_int") or self.extensions.get(name)
        if found is not None and found.name == name:
            return found
        known = [e.name for e in self.extensions.values()]
        raise ConfigError(
            f"extension column {name!r} is not in the instrument table",
            cure=did_you_mean(name, known) if known else "it declares no extension column",
        )

    def with_present(self, names: Iterable[str]) -> set[str]:
        """Return integer columns and what says whether they are there, one needing the other."""
        found = set(names)
        if PRESENT in found:
            found.update(self.extensions)
        elif found & self.extensions.keys():
            found.add(PRESENT)
        return found

    def mask_of(self, names: Iterable[str]) -> int:
        """Return the bits of `present` that some of the columns have."""
        return sum(self.bits.get(name, 0) for name in names)


def tick_columns(extensions: Sequence[Extension]) -> TickColumns:
    """Return the columns of ticks with these extensions; raises ConfigError where two clash."""
    stored = {n: SCALED[n][0] if n in SCALED else n for n in COLUMNS}
    if not extensions:
        return TickColumns(
            TICK_DTYPE, COLUMNS, frozenset(COLUMNS), SCALED, DERIVED, DERIVED, stored, {}, {}
        )
    if len(extensions) > EXTENSIONS_MAX:
        raise ConfigError(
            f"extensions: expected at most {EXTENSIONS_MAX}, were {len(extensions)}",
            cure="declare only the columns you want to keep",
        )
    fields: list[Any] = [(n, TICK_DTYPE[n].str) for n in COLUMNS]
    scaled = dict(SCALED)
    fields.append((PRESENT, "<u8"))
    for extension in extensions:
        if extension.name in {e.name for e in extensions if e is not extension}:
            raise ConfigError(f"extension {extension.name!r} stands twice")
        fields.append((extension.field, "<i8"))
        stored[extension.field] = extension.name
        if extension.scaled:
            scaled[extension.field] = (extension.name, extension.kind)
    names = tuple(name for name, _ in fields)
    derived = {name: source for source, (name, _) in scaled.items()}
    others = {form: e.field for e in extensions for form in forms(e.name) if form != e.field}
    return TickColumns(
        np.dtype(fields),
        names,
        frozenset(names),
        scaled,
        derived,
        derived | others,
        stored,
        {e.field: e for e in extensions},
        {e.field: 1 << n for n, e in enumerate(extensions)},
    )


NO_EXTENSIONS: Final = tick_columns(())
