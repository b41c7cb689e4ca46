"""What each validator saw: the values it read of candidate, limits and context, and its verdict.

Wrapped around the validators of a gate that is watched, and around none other. Never here: a rule.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from parity.model.values import Lifecycle

if TYPE_CHECKING:
    from parity.core.validators.checks import Validator
    from parity.core.validators.context import Context, Drop
    from parity.core.validators.limits import Limits
    from parity.model.effects import Candidate


class Asked(msgspec.Struct, frozen=True):
    """One validator, asked about one candidate.

    Args:
        validator: its name.
        seen: what it read, by name, as plain values; money as text.
        reason: of the drop, "" where it let the candidate pass.
    """

    validator: str
    seen: dict[str, Any]
    reason: str


Watch = Callable[["Candidate", Asked], None]


class _Read:
    """Stands for an object, and notes which of its attributes are read."""

    __slots__ = ("_into", "_of")

    def __init__(self, of: Any, into: dict[str, Any]) -> None:
        self._of = of
        self._into = into

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._of, name)
        self._into[name] = value
        return value


def watched(check: Validator, watch: Watch) -> Validator:
    """Return a validator that tells what it saw."""

    @functools.wraps(check)
    def told(candidate: Candidate, limits: Limits, context: Context) -> Drop | None:
        seen: dict[str, Any] = {}
        reads: Any = [_Read(one, seen) for one in (candidate, limits, context)]
        drop = check(*reads)
        watch(candidate, Asked(check.__name__, plain(seen), "" if drop is None else drop.reason))
        return drop

    return told


def plain(seen: dict[str, Any]) -> dict[str, Any]:
    """Return values as JSON has them; a lifecycle by its name."""
    named = {n: v.name if isinstance(v, Lifecycle) else v for n, v in seen.items()}
    found: dict[str, Any] = msgspec.to_builtins(named)
    return found
