"""A strategy as a kernel: a plain `step` over records, with its dtypes and declared columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from parity.model.errors import ConfigError, KernelError
from parity.model.extensions import TickColumns, forms
from parity.model.ticks import COLUMNS, DERIVED, TICK_DTYPE

_TYPES: Final = {
    **{name: TICK_DTYPE[name].name for name in COLUMNS},
    **dict.fromkeys(DERIVED, "float64"),
}
# The fields every `out` record starts with; what follows are the kernel's declared extras.
OUT_FIELDS: Final = (("side", "i1"), ("confidence", "f8"), ("quantity", "f8"), ("price", "f8"))


def out_dtype(*extras: tuple[str, str]) -> np.dtype[Any]:
    """Return the dtype of a candidate record: side, confidence, quantity, price and extras."""
    return np.dtype([*OUT_FIELDS, *extras], align=True)


class KernelStrategy(msgspec.Struct, frozen=True, kw_only=True):
    """One configured kernel.

    Args:
        name: the strategy's name, as get_strategy_name() of a processor.
        step: `step(state, params, out, <columns>) -> code`; 0 nothing, > 0 a candidate written
            to `out`, < 0 an error. Importable by name; helpers it calls are njit functions.
        state: dtype of one instrument's state; it starts as zeros.
        params: one record (shape ()) of the parameters' dtype.
        out: dtype made by out_dtype().
        columns: the tick columns step takes, in order, named as in TickBatch.
        extensions: the extension columns it reads, by name; a recording without one is refused.
            In `columns` stands for each of them `NAME` (float64, a price or a quantity),
            `NAME_int` (int64: exact, a plain integer, or a word's number) or `has_NAME` (bool).
        history: ticks of one instrument before it may speak.
        describe: turns one candidate's `out` record (a dict of plain values) into
            (reasoning, metadata).
        reference: makes a processor of the same parameters that has to say the same; nothing but
            `parity check` asks it.
    """

    name: str
    step: Callable[..., int]
    state: np.dtype[Any]
    params: npt.NDArray[Any]
    out: np.dtype[Any]
    columns: tuple[str, ...]
    history: int
    describe: Callable[[Mapping[str, Any]], tuple[str, dict[str, Any]]]
    extensions: tuple[str, ...] = ()
    reference: Callable[[], Any] | None = None

    def __post_init__(self) -> None:
        params = self.params.view(_one_type(self.params.dtype))
        for name, value in (
            ("state", _one_type(self.state)),
            ("params", params),
            ("out", _one_type(self.out)),
        ):
            msgspec.structs.force_setattr(self, name, value)
        types = self.column_types()
        for column in self.columns:
            if column not in types:
                raise KernelError(
                    f"kernel {self.name}: column {column!r} is not a tick column",
                    cure=f"columns are {', '.join(types)}; others it names in `extensions`",
                )
        names = tuple(self.out.names or ())
        if names[: len(OUT_FIELDS)] != tuple(n for n, _ in OUT_FIELDS):
            raise KernelError(
                f"kernel {self.name}: out starts with {names}", cure="make it with out_dtype()"
            )

    def column_types(self) -> dict[str, str]:
        """Return every column it may declare, with the name of its numba type."""
        types = dict(_TYPES)
        for name in self.extensions:
            types |= forms(name)
        return types

    def check_extensions(self, known: TickColumns) -> None:
        """Refuse a table whose ticks lack what it reads.

        Raises:
            ConfigError: an extension is not declared there, or would be rounded to a float64.
        """
        for name in self.extensions:
            extension = known.extension(name)
            if name in self.columns and not extension.scaled:
                raise ConfigError(
                    f"kernel {self.name}: {name!r} is of kind {extension.kind}, never a float",
                    cure=f"declare {name}_int in its columns",
                )

    def get_required_history_length(self) -> int:
        """Return how many ticks of an instrument come before the first candidate."""
        return self.history

    def get_strategy_name(self) -> str:
        """Return the strategy's name."""
        return self.name


def _one_type(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return an equal dtype whose flag `aligned` follows from its layout alone.

    numpy takes dtypes that differ in this flag for equal, and numba for two types: it would hand
    arrays of the second to a driver compiled for the first, and refuse them.
    """
    if dtype.names is None:
        return dtype
    fields = [(name, dtype[name]) for name in dtype.names]
    aligned: np.dtype[Any] = np.dtype(fields, align=True)
    if aligned == dtype:
        return aligned
    offsets = [dtype.fields[name][1] for name in dtype.names]  # type: ignore[index] # it has names, so fields
    formats = [dtype[name] for name in dtype.names]
    layout: Any = {
        "names": list(dtype.names),
        "formats": formats,
        "offsets": offsets,
        "itemsize": dtype.itemsize,
    }
    packed: np.dtype[Any] = np.dtype(layout)
    return packed
