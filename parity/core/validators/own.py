"""A registered validator inside an executor: what it is shown, and what becomes of its answer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from parity.core.validators.context import Context, Drop

if TYPE_CHECKING:
    from parity.core.aware import AwareDetector
    from parity.core.detect import KernelDetector, ProcessorDetector
    from parity.core.view import Segment
    from parity.model.effects import Candidate
    from parity.model.protocols import SignalValidator

ERROR: Final = ":error"  # what the reason ends with where the validator failed
_REASON: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")


class OwnCheck:
    """Asks a registered validator; its reasons are ``NAME:reason``, its failures ``NAME:error``.

    A candidate that it could not judge is dropped.
    """

    def __init__(
        self,
        name: str,
        ask: SignalValidator,
        detector: ProcessorDetector | KernelDetector | AwareDetector,
        on: str,
        dense: Mapping[int, int],
    ) -> None:
        self._name = name
        self._ask = ask
        self._detector = detector
        self._on = on
        self._dense = dense  # by token

    def __call__(
        self, candidate: Candidate, context: Context, row: int, segment: Segment
    ) -> Drop | None:
        """Return why the candidate at a row of the segment is dropped, or None."""
        view = segment.view(self._on)
        try:
            if candidate.ordinal < 0:  # at a deadline; `row` is the last that has happened
                at = view.row_at(row + 1)
                history = self._detector.history_before(
                    view, self._dense[candidate.instrument_token], at
                )
                assert history is not None  # no kernel speaks at a deadline
                tick = history[-1]
            else:
                at = view.row_at(row)
                history, tick = self._detector.history_at(view, at), view.ticks[at]
            said: Any = self._ask(candidate, tick, history, context)
        except (Exception, SystemExit) as error:  # a user's code may raise anything
            return Drop(self._name + ERROR, {"error": f"{type(error).__name__}: {error}"})
        if said is None:
            return None
        if isinstance(said, str) and _REASON.fullmatch(said):
            return Drop(f"{self._name}:{said}", {})
        return Drop(self._name + ERROR, {"error": f"expected a reason or None, was {said!r}"})
