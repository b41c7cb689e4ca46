"""A strategy as a kernel: a plain `step` over records, with its dtypes and declared columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from parity.model.errors import KernelError
from parity.model.ticks import COLUMNS, DERIVED

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
        history: ticks of one instrument before it may speak.
        describe: turns one candidate's `out` record (a dict of plain values) into
            (reasoning, metadata).
    """

    name: str
    step: Callable[..., int]
    state: np.dtype[Any]
    params: npt.NDArray[Any]
    out: np.dtype[Any]
    columns: tuple[str, ...]
    history: int
    describe: Callable[[Mapping[str, Any]], tuple[str, dict[str, Any]]]

    def __post_init__(self) -> None:
        for column in self.columns:
            if column not in COLUMNS and column not in DERIVED:
                raise KernelError(
                    f"kernel {self.name}: column {column!r} is not a tick column",
                    cure=f"columns are {', '.join((*COLUMNS, *DERIVED))}",
                )
        names = tuple(self.out.names or ())
        if names[: len(OUT_FIELDS)] != tuple(n for n, _ in OUT_FIELDS):
            raise KernelError(
                f"kernel {self.name}: out starts with {names}", cure="make it with out_dtype()"
            )

    def get_required_history_length(self) -> int:
        """Return how many ticks of an instrument come before the first candidate."""
        return self.history

    def get_strategy_name(self) -> str:
        """Return the strategy's name."""
        return self.name
