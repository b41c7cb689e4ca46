"""A processor's own state, as bytes: for rolling it back after an error, and for checkpoints.

Always through msgpack: what a processor hands out may be changed by it later, and what cannot be
stored must be found out before a restart needs it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from parity.core.asked import name_of
from parity.core.declared import is_declaration
from parity.core.found import words_of
from parity.model.errors import ParityError

if TYPE_CHECKING:
    from parity.model.protocols import StrategyProcessor


class SnapshotUnavailable(ParityError):
    """A processor has state that cannot be stored; a restart replays the whole journal instead."""


def kept_state(processor: StrategyProcessor) -> bytes | None:
    """Return what its snapshot() gives, encoded; None where it has none that can be stored."""
    snapshot = getattr(processor, "snapshot", None)
    if snapshot is None:
        return None
    try:
        return msgspec.msgpack.encode(snapshot())
    except (Exception, SystemExit):  # a strategy may raise anything; without one it warms up anew
        return None


def state_of(processor: StrategyProcessor) -> Any:
    """Return a processor's state as plain values of our own, by snapshot() or by its attributes.

    Raises:
        SnapshotUnavailable: the state would not come back from a checkpoint as it was.
    """
    name = name_of(processor)
    cure = "give it snapshot() -> dict and restore(dict), of plain values"
    if hasattr(processor, "snapshot"):
        try:
            kept = msgspec.msgpack.encode(processor.snapshot())
        except (Exception, SystemExit) as error:  # a strategy may raise anything
            raise SnapshotUnavailable(
                f"{name}: snapshot() gives nothing storable: {words_of(error)}", cure=cure
            ) from error
        return msgspec.msgpack.decode(kept)
    own = vars(processor) if hasattr(processor, "__dict__") else None
    if own is not None:
        own = {name: value for name, value in own.items() if not is_declaration(value)}
    seen: set[int] = set()
    lost = [n for n, v in (own or {}).items() if not _comes_back(v, seen)]
    if own is None or lost:
        raise SnapshotUnavailable(
            f"{name}: state cannot be put into a checkpoint"
            + (f" (attributes {', '.join(lost)})" if lost else ""),
            cure=cure,
        )
    return msgspec.msgpack.decode(msgspec.msgpack.encode(own))


def _comes_back(value: Any, seen: set[int]) -> bool:
    # Narrower than is_plain: a Decimal would come back as text, a tuple as a list, and one list
    # under two names as two lists.
    if isinstance(value, list | dict):
        if id(value) in seen:
            return False
        seen.add(id(value))
    if isinstance(value, list):
        return all(_comes_back(item, seen) for item in value)
    if isinstance(value, dict):
        return all(type(k) is str and _comes_back(v, seen) for k, v in value.items())
    if type(value) is int:
        return -(1 << 63) <= value < 1 << 64
    return value is None or type(value) in (bool, float, str)
