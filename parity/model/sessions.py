"""A trading session as a table of instants: which phase an exchange is in, by lookup.

Half-open: 09:15:00.000000000 is regular, 15:30:00 is not any more. Local time is for people and
stands nowhere here. Never here: which days are trading days (parity.core.calendars).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from typing import Annotated, Any, Final

import msgspec

from parity.model.errors import ConfigError

PREOPEN: Final = "preopen"
REGULAR: Final = "regular"
CLOSING: Final = "closing"
CLOSED: Final = "closed"
UNKNOWN: Final = "unknown"  # before the table begins, or behind its end
PHASES: Final = (PREOPEN, REGULAR, CLOSING, CLOSED)
ALWAYS: Final = "24/7"

Row = tuple[int, int, str]
_Ns = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


class _Kept(msgspec.Struct):
    """What a manifest keeps of one."""

    calendar: str
    start_ns: _Ns
    end_ns: _Ns
    rows: list[str]


class SessionClock:
    """The phases of one calendar between two instants.

    Args:
        calendar: its name.
        start_ns: from here on the table is complete.
        end_ns: up to here, not included.
        rows: (start_ns, end_ns, phase), rising and apart; what lies between is closed.

    Raises:
        ConfigError: it ends before it starts, or a row is no interval, overlaps, or has no known
            phase.

    >>> clock = SessionClock("demo", 0, 100, [(10, 20, "preopen"), (20, 50, "regular")])
    >>> [clock.phase(ns) for ns in (9, 10, 19, 20, 49, 50, 100)]
    ['closed', 'preopen', 'preopen', 'regular', 'regular', 'closed', 'unknown']
    >>> clock.next_edge(20), clock.end_of_regular(12), clock.is_regular(49)
    (50, 50, True)
    """

    __slots__ = ("_phases", "_starts", "calendar", "end_ns", "rows", "start_ns")

    def __init__(self, calendar: str, start_ns: int, end_ns: int, rows: Iterable[Row]) -> None:
        self.calendar = calendar
        self.start_ns = start_ns
        self.end_ns = end_ns
        self.rows: tuple[Row, ...] = tuple((a, b, phase) for a, b, phase in rows)
        self._starts: list[int] = [start_ns]
        self._phases: list[str] = [CLOSED]
        if end_ns < start_ns:
            raise ConfigError(f"calendar {calendar}: ends at {end_ns}, before {start_ns}")
        at = start_ns
        for begins, ends, phase in self.rows:
            if not at <= begins < ends <= end_ns or phase not in PHASES:
                raise ConfigError(
                    f"calendar {calendar}: row {(begins, ends, phase)}",
                    cure=f"rows rise, lie apart, and have one of {', '.join(PHASES)}",
                )
            if begins == self._starts[-1]:
                self._phases[-1] = phase
            else:
                self._starts.append(begins)
                self._phases.append(phase)
            self._starts.append(ends)
            self._phases.append(CLOSED)
            at = ends
        if self._starts[-1] == end_ns:
            self._phases[-1] = UNKNOWN
        else:
            self._starts.append(end_ns)
            self._phases.append(UNKNOWN)

    def phase(self, ns: int) -> str:
        """Return the phase at an instant; UNKNOWN outside the table."""
        at = bisect_right(self._starts, ns) - 1
        return UNKNOWN if at < 0 else self._phases[at]

    def is_regular(self, ns: int) -> bool:
        """Say whether an instant lies in the regular session."""
        return self.phase(ns) == REGULAR

    def next_edge(self, ns: int) -> int | None:
        """Return the next instant at which a phase begins; None where the table ends before."""
        at = bisect_right(self._starts, ns)
        return self._starts[at] if at < len(self._starts) - 1 else None

    def end_of_regular(self, ns: int) -> int | None:
        """Return the end of the regular session an instant is in, or of the next one; or None."""
        at = max(bisect_right(self._starts, ns) - 1, 0)
        for number in range(at, len(self._starts) - 1):
            if self._phases[number] == REGULAR:
                return self._starts[number + 1]
        return None

    def to_json(self) -> dict[str, Any]:
        """Return it as a manifest keeps it."""
        return {
            "calendar": self.calendar,
            "start_ns": self.start_ns,
            "end_ns": self.end_ns,
            "rows": [f"{begins} {ends} {phase}" for begins, ends, phase in self.rows],
        }

    @classmethod
    def from_json(cls, kept: Any) -> SessionClock:
        """Take back what to_json() gave; raises ConfigError where it is nothing of that."""
        try:
            found = msgspec.convert(kept, _Kept)
            parts = (row.split() for row in found.rows)
            rows = [(int(begins), int(ends), phase) for begins, ends, phase in parts]
        except ValueError as error:  # that of msgspec is one, too
            raise ConfigError(f"no sessions: {error}") from None
        return cls(found.calendar, found.start_ns, found.end_ns, rows)
