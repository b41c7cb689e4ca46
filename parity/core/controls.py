"""Controls that say something about strategies: what each verb does to an executor at its barrier.

What cannot be done is an effect, seen and counted, and never ends the run. A control about one
strategy changes no byte of another.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from parity.core.succession import take_over
from parity.model.effects import ControlRefused, Effect
from parity.model.errors import ParityError, RecordingCorrupt
from parity.model.parameters import in_ns
from parity.model.values import Lifecycle

if TYPE_CHECKING:
    from parity.core.executor import Executor, ExecutorPlan
    from parity.core.roster import Roster
    from parity.model.events import Control

_SECONDS_MAX: Final = 366 * 86_400


class Asked(msgspec.Struct, frozen=True):
    """The detail of a control about a strategy.

    Args:
        broker: one of its executors; "" is all of them.
        reason: what the transition says; the verb's own word where nothing is given.
        resume_sec: of a pause: seconds of the executor's clock after which it ends by itself.
        strategy: of an addition or a replacement: the whole strategy, as its planner reads it.
    """

    strategy_id: str
    broker: str = ""
    reason: str = ""
    resume_sec: float | None = None
    strategy: dict[str, Any] | None = None


class Impossible(Exception):
    """What a control asks for cannot be done; the reason is stable."""

    def __init__(self, reason: str, said: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.said = said


def carry_out(control: Control, roster: Roster) -> list[Effect]:
    """Do what a control about a strategy asks for; return the effects, in the executors' order."""
    try:
        asked = _asked(control)
        if control.verb == "strategy_added":
            return _added(asked, control.seq, roster)
        executors = roster.of(asked.strategy_id, asked.broker)
        if not executors:
            raise Impossible("unknown_strategy")
        if control.verb == "strategy_replaced":
            return _replaced(asked, control.seq, roster, executors)
    except Impossible as error:
        detail = control.detail
        named = [name if isinstance(name, str) else "" for name in
                 (detail.get("strategy_id"), detail.get("broker"))]  # fmt: skip
        return [refused(control, error, *named)]
    effects: list[Effect] = []
    for executor in executors:
        impossible = _refusal(control.verb, executor)
        if impossible is None:
            effects += _DOES[control.verb](executor, asked, control.seq)
        else:
            effects.append(refused(control, impossible, *executor.key))
    if control.verb == "strategy_stopped":
        roster.fit_histories()
    return effects


def refusal(control: Control, roster: Roster) -> Impossible | None:
    """Return why a control about strategies would be refused now, as far as their states tell.

    What has to be built to be known, as a replacement has, shows when it is carried out.
    """
    try:
        asked = _asked(control)
    except Impossible as error:
        return error
    executors = roster.of(asked.strategy_id, asked.broker)
    if not executors:
        return Impossible("unknown_strategy")
    reasons = [_refusal(control.verb, executor) for executor in executors]
    return None if None in reasons else reasons[0]


def refused(
    control: Control, error: Impossible, strategy_id: str = "", broker: str = ""
) -> ControlRefused:
    """Return the effect of a control that could not be carried out."""
    return ControlRefused(control.seq, strategy_id, broker, control.verb, error.reason, error.said)


def _asked(control: Control) -> Asked:
    try:
        asked = msgspec.convert(control.detail, Asked)
    except msgspec.ValidationError as error:
        raise Impossible("malformed", str(error)) from None
    seconds = asked.resume_sec
    if seconds is not None and not 0 < seconds <= _SECONDS_MAX:
        raise Impossible("malformed", f"resume_sec was {seconds!r}")
    return asked


# -- one executor --------------------------------------------------------------------------------


def _paused(executor: Executor, asked: Asked, seq: int) -> list[Effect]:
    resume_ns = None if asked.resume_sec is None else in_ns(asked.resume_sec)
    life = executor.life
    return executor.changed(life.pause(asked.reason or "paused", executor.clock, resume_ns), seq)


def _resumed(executor: Executor, asked: Asked, seq: int) -> list[Effect]:
    return executor.changed(executor.life.resume(asked.reason or "resumed", executor.clock), seq)


def _stopped(executor: Executor, asked: Asked, seq: int) -> list[Effect]:
    return executor.changed(executor.life.stop(asked.reason or "stopped", executor.clock), seq)


def _flattened(executor: Executor, asked: Asked, seq: int) -> list[Effect]:
    # What a strategy left when it was stopped must still be closed: so STOPPED is no obstacle.
    effects = executor.flatten(seq)
    if executor.life.state is not Lifecycle.STOPPED:
        changes = executor.life.pause(asked.reason or "flattened", executor.clock)
        effects += executor.changed(changes, seq)
    return effects


_DOES: Final[dict[str, Callable[[Executor, Asked, int], list[Effect]]]] = {
    "strategy_paused": _paused,
    "strategy_resumed": _resumed,
    "strategy_stopped": _stopped,
    "strategy_flattened": _flattened,
}
_ALIVE: Final = frozenset(Lifecycle) - {Lifecycle.STOPPED}
_FROM: Final[dict[str, frozenset[Lifecycle]]] = {  # what is not here goes from any state
    "strategy_paused": _ALIVE,
    "strategy_resumed": frozenset({Lifecycle.PAUSED, Lifecycle.ERROR}),
    "strategy_stopped": _ALIVE,
}
STRATEGY_VERBS: Final = frozenset({"strategy_added", "strategy_replaced", *_DOES})


def _refusal(verb: str, executor: Executor) -> Impossible | None:
    state = executor.life.state
    return None if state in _FROM.get(verb, (state,)) else Impossible("not_allowed", state.name)


# -- executors that come and go ------------------------------------------------------------------


def _added(asked: Asked, seq: int, roster: Roster) -> list[Effect]:
    plans = _plans(asked, roster)
    if any(roster.of(asked.strategy_id, plan.broker) for plan in plans):
        raise Impossible("already_there")
    try:
        made = roster.add(plans, asked.strategy)
    except (Exception, SystemExit) as error:  # a strategy may raise anything
        raise Impossible("not_built", type(error).__name__) from None
    effects: list[Effect] = []
    for executor in sorted(made, key=lambda executor: executor.key):
        effects += executor.begin(asked.reason or "added", seq)
    return effects


def _replaced(
    asked: Asked, seq: int, roster: Roster, executors: Sequence[Executor]
) -> list[Effect]:
    plans = {plan.broker: plan for plan in _plans(asked, roster)}
    lacking = [old.key[1] for old in executors if old.key[1] not in plans]
    if lacking:
        raise Impossible("other_brokers", ", ".join(lacking))
    assert asked.strategy is not None  # or there were no plans
    try:
        made = roster.make([plans[old.key[1]] for old in executors], asked.strategy)
    except (Exception, SystemExit) as error:  # a strategy may raise anything
        roster.fit_histories()
        raise Impossible("not_built", type(error).__name__) from None
    for old, new in zip(executors, made, strict=True):
        left = sorted(old.broker.tokens_in_use() - {*new.tokens.values()})
        if left:
            roster.fit_histories()
            raise Impossible("still_held", ", ".join(map(str, left)))
    effects: list[Effect] = []
    for old, new in zip(executors, made, strict=True):
        effects += take_over(new, old, asked.reason or "replaced", seq)
    roster.put(made)
    return effects


def _plans(asked: Asked, roster: Roster) -> list[ExecutorPlan]:
    if asked.strategy is None:
        raise Impossible("malformed", "no strategy")
    if roster.planner is None:
        raise Impossible("not_built", "no planner")
    try:
        plans = [*roster.planner(asked.strategy)]
    except RecordingCorrupt:
        raise  # what was kept of it is gone: that is no refusal, nothing can be proved any more
    except ParityError as error:
        raise Impossible("not_built", type(error).__name__) from None
    plans = [plan for plan in plans if asked.broker in ("", plan.broker)]
    if not plans or any(plan.config.strategy_id != asked.strategy_id for plan in plans):
        raise Impossible("malformed", "it is another strategy, or at another broker")
    return plans
