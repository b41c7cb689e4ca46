"""How a backtest goes over its ticks: one at a time, or in whole batches. It changes no byte.

So the choice is in no manifest, and a run made either way is the same run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from parity.model.errors import ConfigError, did_you_mean
from parity.strategies import REGISTRY

if TYPE_CHECKING:
    from parity.compose.plans import Prepared

AUTO: Final = "auto"  # kernels over whole batches, and processors beside them
TICK: Final = "tick"  # every strategy one tick at a time, as a live run at its quietest
FUSED: Final = "fused"  # whole batches, and nothing that could not go over them in compiled code
ENGINES: Final = (AUTO, TICK, FUSED)


def rows_max_of(engine: str, prepared: Prepared) -> int | None:
    """Return how many ticks an engine looks at together; None leaves it to the engine.

    Args:
        engine: one of ENGINES.
        prepared: the strategies that will run.

    Raises:
        ConfigError: no such engine, or "fused" with strategies that are no kernels.
    """
    if engine not in ENGINES:
        raise ConfigError(
            f"engine: expected auto, tick or fused, was {engine!r}",
            cure=did_you_mean(engine, ENGINES),
        )
    if engine == FUSED:
        _require_kernels(prepared)
    return 1 if engine == TICK else None


def _require_kernels(prepared: Prepared) -> None:
    found = {
        plan.config.strategy_id: kept.type_name
        for plan, kept in zip(prepared.plans, prepared.kept, strict=True)
        if plan.driver is None
    }
    if not found:
        return
    twins = sorted({f"{kind}_kernel" for kind in found.values()} & {*REGISTRY})
    others = f" ({', '.join(twins)} {'is one' if len(twins) == 1 else 'are'})" if twins else ""
    raise ConfigError(
        f"engine fused: {', '.join(sorted(found))} cannot be fused: Python is called at each tick "
        "of a processor",
        cure=f"take engine auto, or a kernel{others}",
    )
