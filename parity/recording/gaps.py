"""What the controls of a recording say was not received, or not understood: gaps, quarantine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from parity.model.events import Control
    from parity.recording.manifest import Manifest

LARGEST: Final = 5


class Losses:
    """Takes controls one by one and keeps counts, and the largest gaps."""

    def __init__(self, manifest: Manifest) -> None:
        self._names = {s.id: f"{s.topic}/{s.partition}" for s in manifest.streams}
        self._gaps: dict[str, Counter[str]] = {"by_reason": Counter(), "by_stream": Counter()}
        self._positions = 0
        self._largest: list[dict[str, Any]] = []
        self._quarantine: dict[str, Counter[str]] = {"by_reason": Counter(), "by_stream": Counter()}
        self._verbs: Counter[str] = Counter()

    def take(self, controls: Iterable[Control]) -> None:
        """Count some controls."""
        for control in controls:
            self._verbs[control.verb] += 1
            if control.verb == "gap":
                self._gap(control)
            elif control.verb == "quarantine":
                self._note(self._quarantine, control)

    def _note(self, counts: dict[str, Counter[str]], control: Control) -> str:
        stream = control.detail.get("stream")
        name = self._names.get(stream, "-") if isinstance(stream, int) else "-"
        counts["by_reason"][str(control.detail.get("reason", "-"))] += 1
        counts["by_stream"][name] += 1
        return name

    def _gap(self, control: Control) -> None:
        name, detail = self._note(self._gaps, control), control.detail
        bounds = detail.get("offset"), detail.get("next_offset")
        size = 0
        if isinstance(bounds[0], int) and isinstance(bounds[1], int):
            size = max(0, bounds[1] - bounds[0])
        self._positions += size
        row = {"seq": control.seq, "ts_recv": control.ts_recv, "stream": name, "positions": size}
        row |= {"offset": bounds[0], "next_offset": bounds[1], "reason": detail.get("reason")}
        self._largest = sorted([*self._largest, row], key=lambda one: -one["positions"])[:LARGEST]

    def to_json(self) -> dict[str, Any]:
        """Return `gaps, gap_details, quarantined, quarantine_details, controls`."""
        return {
            "gaps": self._verbs["gap"],
            "gap_details": {
                **_sorted(self._gaps), "positions": self._positions, "largest": self._largest,
            },
            "quarantined": self._verbs["quarantine"],
            "quarantine_details": _sorted(self._quarantine),
            "controls": dict(sorted(self._verbs.items())),
        }  # fmt: skip


def _sorted(counts: dict[str, Counter[str]]) -> dict[str, Any]:
    return {name: dict(counter.most_common()) for name, counter in counts.items()}
