"""The lifecycle of an executor: which state may follow which, and what moves it.

States only gate candidates: what a strategy is fed does not depend on them, but for STOPPED, the
end. All time is the executor's decide clock. Never here: a tick, a candidate, an order.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from parity.core.deadlines import NO_TOKEN, Deadlines
from parity.core.view import NO_TIME
from parity.model.errors import ConfigError
from parity.model.parameters import Parameter, complete_parameters, in_ns
from parity.model.values import Lifecycle

if TYPE_CHECKING:
    from parity.model.values import StrategyConfig

INIT: Final = Lifecycle.INIT
WARMUP: Final = Lifecycle.WARMUP
ACTIVE: Final = Lifecycle.ACTIVE
PAUSED: Final = Lifecycle.PAUSED
ERROR: Final = Lifecycle.ERROR
STOPPED: Final = Lifecycle.STOPPED

NEXT: Final[dict[Lifecycle, frozenset[Lifecycle]]] = {
    INIT: frozenset({WARMUP, PAUSED, STOPPED}),
    WARMUP: frozenset({ACTIVE, PAUSED, ERROR, STOPPED}),
    ACTIVE: frozenset({WARMUP, PAUSED, ERROR, STOPPED}),
    PAUSED: frozenset({WARMUP, ACTIVE, STOPPED}),
    ERROR: frozenset({WARMUP, ACTIVE, PAUSED, STOPPED}),
    STOPPED: frozenset(),
}
RETRY: Final = "retry_after_errors"  # kinds of deadlines
RESUME: Final = "end_of_pause"
_YEAR_SEC: Final = 366 * 86_400


def _seconds(default: float | None, doc: str) -> Parameter:
    return Parameter("float", default, minimum=0.001, maximum=_YEAR_SEC, doc=doc)


ERRORS: Final[dict[str, Parameter]] = {
    "window_sec": _seconds(60.0, "seconds in which errors are counted"),
    "max": Parameter("int", 5, minimum=0, doc="errors in it that are put up with; one more: ERROR"),
    "retry_sec": _seconds(30.0, "seconds in ERROR before the next try"),
    "retries": Parameter("int", 3, minimum=0, doc="tries in a row; then PAUSED"),
    "resume_sec": _seconds(None, "seconds after which it leaves that PAUSED by itself; never"),
}


class ErrorTerms(msgspec.Struct, frozen=True):
    """What becomes of a strategy that goes wrong: the block `errors` of its parameters."""

    window_ns: int
    most: int
    retry_ns: int
    retries: int
    resume_ns: int | None

    @classmethod
    def of(cls, config: StrategyConfig) -> ErrorTerms:
        """Read the block, its defaults filled in; raises ConfigError naming what is wrong."""
        checked, faults = complete_parameters(ERRORS, config.parameters.get("errors") or {})
        if faults:
            first = faults[0]
            raise ConfigError(f"errors.{first.name}: {first.message}", cure=first.cure)
        resume = checked["resume_sec"]
        return cls(
            window_ns=in_ns(checked["window_sec"]),
            most=checked["max"],
            retry_ns=in_ns(checked["retry_sec"]),
            retries=checked["retries"],
            resume_ns=None if resume is None else in_ns(resume),
        )


class Change(NamedTuple):
    """A step from one state to the next, and what made it."""

    was: Lifecycle
    now: Lifecycle
    reason: str


def step(was: Lifecycle, now: Lifecycle) -> Lifecycle:
    """Return `now`; raises ValueError where it may not follow `was`."""
    if now not in NEXT[was]:
        raise ValueError(f"lifecycle: {now.name} cannot follow {was.name}")
    return now


class Life:
    """The state of one executor, what it has been through, and when it goes on by itself.

    Args:
        terms: what errors lead to.
        deadlines: the executor's; a try and an end of a pause are set in it.
    """

    __slots__ = (
        "_deadlines",
        "_failed_ns",
        "_retried_ns",
        "_terms",
        "entered",
        "reason",
        "retries",
        "since_ns",
        "state",
        "warm",
    )

    def __init__(self, terms: ErrorTerms, deadlines: Deadlines) -> None:
        self.state = INIT
        self.warm = False  # whether an instrument has its history, whatever the state
        self.entered: Counter[str] = Counter({INIT.name: 1})
        self.since_ns = NO_TIME  # decide clock at the last transition
        self.reason = ""
        self.retries = 0  # tries since it last worked
        self._retried_ns = NO_TIME
        self._failed_ns: deque[int] = deque()  # errors inside the window
        self._terms = terms
        self._deadlines = deadlines

    def _go(self, now: Lifecycle, reason: str, clock_ns: int) -> Change:
        was, self.state = self.state, step(self.state, now)
        self.entered[now.name] += 1
        self.since_ns, self.reason = clock_ns, reason
        self._deadlines.cancel(NO_TOKEN, RETRY)
        self._deadlines.cancel(NO_TOKEN, RESUME)
        return Change(was, now, reason)

    # -- what its ticks bring ----------------------------------------------------------------

    def began(self, clock_ns: int, reason: str = "first_tick") -> list[Change]:
        """Take the first tick, or that it was put in place."""
        return [self._go(WARMUP, reason, clock_ns)] if self.state is INIT else []

    def warmed(self, clock_ns: int) -> list[Change]:
        """Take the tick with which an instrument has its history."""
        self.warm = True
        return [self._go(ACTIVE, "warm", clock_ns)] if self.state is WARMUP else []

    def cooled(self, clock_ns: int) -> list[Change]:
        """Take that the processor had to begin anew, with no history."""
        self.warm = False
        return [self._go(WARMUP, "began_anew", clock_ns)] if self.state is ACTIVE else []

    def failed(self, clock_ns: int) -> list[Change]:
        """Take an error: of the processor, the kernel or a registered validator.

        While it is paused, or in ERROR already, errors lead nowhere.
        """
        if self.state not in (WARMUP, ACTIVE):
            return []
        self._failed_ns.append(clock_ns)
        while self._failed_ns[0] <= clock_ns - self._terms.window_ns:
            self._failed_ns.popleft()
        if len(self._failed_ns) <= self._terms.most:
            return []
        self._failed_ns.clear()
        if clock_ns - self._retried_ns > self._terms.window_ns:
            self.retries = 0  # the last try went well
        changes = [self._go(ERROR, "errors", clock_ns)]
        if self.retries < self._terms.retries:
            self._deadlines.set(clock_ns + self._terms.retry_ns, NO_TOKEN, RETRY)
            return changes
        changes.append(self._go(PAUSED, "retries_spent", clock_ns))
        if self._terms.resume_ns is not None:
            self._deadlines.set(clock_ns + self._terms.resume_ns, NO_TOKEN, RESUME)
        return changes

    # -- deadlines ---------------------------------------------------------------------------

    def retry(self, clock_ns: int) -> list[Change]:
        """Try again, at the deadline."""
        self.retries += 1
        self._retried_ns = clock_ns
        return [self._go(ACTIVE if self.warm else WARMUP, "retry", clock_ns)]

    def resume_by_itself(self, clock_ns: int) -> list[Change]:
        """Leave PAUSED, at the deadline."""
        return self._resume("resume_sec", clock_ns)

    def _resume(self, reason: str, clock_ns: int) -> list[Change]:
        self.retries, self._retried_ns = 0, NO_TIME
        self._failed_ns.clear()
        return [self._go(ACTIVE if self.warm else WARMUP, reason, clock_ns)]

    # -- controls ----------------------------------------------------------------------------

    def pause(self, reason: str, clock_ns: int, resume_ns: int | None = None) -> list[Change]:
        """Pause; what is paused already may get another end of its pause.

        Raises:
            ValueError: it is stopped.
        """
        if self.state is PAUSED:
            changes: list[Change] = []
            self._deadlines.cancel(NO_TOKEN, RESUME)
        else:
            changes = [self._go(PAUSED, reason, clock_ns)]
        if resume_ns is not None:
            self._deadlines.set(clock_ns + resume_ns, NO_TOKEN, RESUME)
        return changes

    def resume(self, reason: str, clock_ns: int) -> list[Change]:
        """Go on from PAUSED, or from ERROR before the next try; raises ValueError elsewhere."""
        if self.state not in (PAUSED, ERROR):
            raise ValueError(f"lifecycle: {self.state.name} is not PAUSED")
        return self._resume(reason, clock_ns)

    def stop(self, reason: str, clock_ns: int) -> list[Change]:
        """End; raises ValueError where it has ended."""
        return [self._go(STOPPED, reason, clock_ns)]

    # -- snapshot ----------------------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        """Return everything as plain values; deadlines are the executor's."""
        return {
            "state": int(self.state),
            "warm": self.warm,
            "entered": dict(sorted(self.entered.items())),
            "last": [self.since_ns, self.reason],
            "retries": [self.retries, self._retried_ns],
            "failed_ns": list(self._failed_ns),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take back what snapshot() gave."""
        self.state = Lifecycle(state["state"])
        self.warm = state["warm"]
        self.entered = Counter(state["entered"])
        self.since_ns, self.reason = state["last"]
        self.retries, self._retried_ns = state["retries"]
        self._failed_ns = deque(state["failed_ns"])
