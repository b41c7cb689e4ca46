"""Which ticks of a recording are wanted: as SQL for the parts, as a mask for what is in memory."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from parity.model.events import Control


class Selection(NamedTuple):
    """Which ticks are wanted; times are ts_event in [start_ns, end_ns)."""

    tokens: tuple[int, ...] | None
    start_ns: int | None
    end_ns: int | None

    @property
    def everything(self) -> bool:
        """Whether no tick is left out, so that gaps can be judged."""
        return self == (None, None, None)

    def where(self) -> list[str]:
        """Return it as SQL conditions."""
        found = []
        if self.tokens is not None:
            found.append(f"instrument_token IN ({', '.join(map(str, self.tokens)) or 'NULL'})")
        if self.start_ns is not None:
            found.append(f"ts_event >= {int(self.start_ns)}")
        if self.end_ns is not None:
            found.append(f"ts_event < {int(self.end_ns)}")
        return found

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns it asks for."""
        by_time = self.start_ns is not None or self.end_ns is not None
        found = ("instrument_token",) if self.tokens is not None else ()
        return (*found, "ts_event") if by_time else found

    def mask(self, ticks: Mapping[str, npt.NDArray[Any]] | npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return which of some ticks are wanted; not for a selection of everything."""
        wanted = [
            *([np.isin(ticks["instrument_token"], self.tokens)] if self.tokens is not None else []),
            *([ticks["ts_event"] >= self.start_ns] if self.start_ns is not None else []),
            *([ticks["ts_event"] < self.end_ns] if self.end_ns is not None else []),
        ]
        return functools.reduce(np.logical_and, wanted)

    def of(self, records: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the wanted ones of journal records."""
        return records if self.everything else records[self.mask(records)]

    def outside(self, ts_min: int, ts_max: int) -> bool:
        """Return whether no tick between two times (both included) can be wanted."""
        late = self.start_ns is not None and ts_max < self.start_ns
        return late or (self.end_ns is not None and ts_min >= self.end_ns)

    def controls(self, controls: Sequence[Control], first: int, last: int) -> list[Control]:
        """Leave out controls before the first or after the last tick of a time range."""
        lo = first if self.start_ns is not None else 0
        hi = last if self.end_ns is not None else 2**63
        return [c for c in controls if lo <= c.seq <= hi]
