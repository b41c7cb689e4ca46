"""What a live run's loop spent its time on, as values a report shows.

Never here: measuring, or a value that the run did not keep.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from parity.live.telemetry import telemetry_of

if TYPE_CHECKING:
    from parity.recording.histogram import Durations
    from parity.recording.runs import RunFolder

QUANTILES: Final = {"p50_ns": 0.5, "p99_ns": 0.99, "p999_ns": 0.999}


def latency_of(run: RunFolder) -> dict[str, Any] | None:
    """Return durations by stage, stalls and collections; None where the run kept none."""
    found = telemetry_of(run.path)
    if found is None:
        return None
    return {
        "stages": {name: spread(one) for name, one in found.stages.items() if one.count},
        "late": spread(found.late),
        "collections": {str(n): spread(one) for n, one in found.collections.items() if one.count},
        "stall_count": found.stall_count,
        "stalls": [msgspec.to_builtins(stall) for stall in found.stalls],
    }


def spread(found: Durations) -> dict[str, int]:
    """Return count, p50, p99, p99.9 and the longest, in ns."""
    shown = {name: found.quantile(share) for name, share in QUANTILES.items()}
    return {"count": found.count, **shown, "max_ns": found.max_ns}


def span_text(ns: int) -> str:
    """Return a duration in the unit that fits it, to three digits.

    >>> [span_text(ns) for ns in (0, 870, 12_345, 4_560_000, 61_500_000_000)]
    ['0 ns', '870 ns', '12.3 µs', '4.56 ms', '61.5 s']
    """
    for unit, size in (("s", 1_000_000_000), ("ms", 1_000_000), ("µs", 1_000)):
        if ns >= size:
            return f"{ns / size:.3g} {unit}" if ns < 1_000 * size else f"{ns / size:,.0f} {unit}"
    return f"{ns} ns"
