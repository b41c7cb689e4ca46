"""When a live run sends itself a heartbeat: something is due, and the source has been silent.

Its time is the largest `ts_event` seen, and what has passed since by the arrival clock, less a
margin for ticks on their way. Pure: times in, a time out. Never here: a clock, a journal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from parity.model import ticks as flag

if TYPE_CHECKING:
    import numpy.typing as npt

    from parity.model.instruments import InstrumentTable

SILENT_NS: Final = 1_000_000_000
MARGIN_NS: Final = 2_000_000_000
_UNTIMED: Final = flag.UNDELIVERED | flag.NO_VENUE_TIME


class Heart:
    """What is known of the source's last ticks.

    Args:
        table: an instrument with `clock: recv` has its time without a venue's.
    """

    def __init__(self, table: InstrumentTable) -> None:
        self._by_recv = [i.token for i in table if i.clock == "recv"]
        self._newest_ns: int | None = None  # largest ts_event
        self._newest_at_ns = 0  # when it came
        self._last_at_ns = 0  # when anything came

    def took(self, records: npt.NDArray[Any], now_ns: int) -> None:
        """Take judged records that came now."""
        if not len(records):
            return
        self._last_at_ns = now_ns
        timed = records["flags"] & np.uint32(_UNTIMED) == 0
        if self._by_recv:
            shown = records["flags"] & np.uint32(flag.UNDELIVERED) == 0
            timed |= shown & np.isin(records["instrument_token"], self._by_recv)
        if timed.any():
            newest = int(records["ts_event"][timed].max())
            if self._newest_ns is None or newest > self._newest_ns:
                self._newest_ns, self._newest_at_ns = newest, now_ns

    def beat(self, now_ns: int, due_ns: int | None) -> int | None:
        """Return the time of a heartbeat to be sent now, or None.

        Args:
            now_ns: by the arrival clock.
            due_ns: the earliest deadline that is pending; None where there is none.
        """
        if due_ns is None or self._newest_ns is None or now_ns - self._last_at_ns < SILENT_NS:
            return None
        ns = self._newest_ns + (now_ns - self._newest_at_ns) - MARGIN_NS
        return ns if ns >= due_ns else None
