"""The lifecycle of an executor as a table: which state may follow which."""

from __future__ import annotations

from typing import Final

from parity.model.values import Lifecycle

NEXT: Final[dict[Lifecycle, frozenset[Lifecycle]]] = {
    Lifecycle.INIT: frozenset({Lifecycle.WARMUP, Lifecycle.STOPPED}),
    Lifecycle.WARMUP: frozenset({Lifecycle.ACTIVE, Lifecycle.ERROR, Lifecycle.STOPPED}),
    Lifecycle.ACTIVE: frozenset(
        {Lifecycle.WARMUP, Lifecycle.PAUSED, Lifecycle.ERROR, Lifecycle.STOPPED}
    ),
    Lifecycle.PAUSED: frozenset({Lifecycle.ACTIVE, Lifecycle.STOPPED}),
    Lifecycle.ERROR: frozenset({Lifecycle.ACTIVE, Lifecycle.PAUSED, Lifecycle.STOPPED}),
    Lifecycle.STOPPED: frozenset(),
}


def step(was: Lifecycle, now: Lifecycle) -> Lifecycle:
    """Return `now`; raises ValueError where it may not follow `was`."""
    if now not in NEXT[was]:
        raise ValueError(f"lifecycle: {now.name} cannot follow {was.name}")
    return now
