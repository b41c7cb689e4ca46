"""What an executor is made of, from its plan: its instruments and its detector."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from parity.core.aware import AwareDetector, is_aware
from parity.core.detect import KernelDetector, ProcessorDetector
from parity.core.found import NOT_DUE, Found
from parity.model import ticks as flag
from parity.model.errors import ConfigError
from parity.model.kernel import KernelStrategy

if TYPE_CHECKING:
    from parity.core.executor import ExecutorPlan
    from parity.core.history import HistoryStore
    from parity.core.portfolio import PortfolioView
    from parity.core.view import View
    from parity.model.instruments import InstrumentTable
    from parity.model.protocols import StrategyProcessor


def tokens_of(plan: ExecutorPlan, table: InstrumentTable) -> dict[int, int]:
    """Return token by dense id of the instruments the strategy is configured for and supports.

    Raises:
        ConfigError: it supports none of them, or not its broker.
    """
    configured = plan.config.instrument_tokens or tuple(int(t) for t in table.tokens)
    made = plan.build()
    if not isinstance(made, KernelStrategy):
        _check_broker(made, plan)
        configured = tuple(t for t in configured if made.supports_instrument(t))
    if not configured:
        raise ConfigError(
            f"strategy {plan.config.strategy_id}: it supports no configured instrument"
        )
    return {table.dense_id(t): t for t in sorted(set(configured))}


def _check_broker(made: StrategyProcessor, plan: ExecutorPlan) -> None:
    supports = getattr(made, "supports_broker", None)
    if supports is not None and not supports(plan.broker):
        raise ConfigError(
            f"strategy {plan.config.strategy_id}: {made.get_strategy_name()} does not support "
            f"broker {plan.broker}",
            cure="name another one under `brokers`, or another strategy",
        )


def spoken(found: list[Found], view: View) -> list[Found]:
    """Leave out what was said at warm-up ticks: they fill histories, and nobody trades on them."""
    ticks, flags = view.segment.batch.column("flags"), view.batch.column("flags")
    return [
        f
        for f in found
        if not (flags[f.row] if f.due_ns == NOT_DUE else ticks[f.row]) & flag.WARMUP
    ]


def detector_of(
    plan: ExecutorPlan,
    tokens: Mapping[int, int],
    stores: Callable[[int, int], HistoryStore],
    table: InstrumentTable,
    seed: int,
    portfolio: PortfolioView,
) -> ProcessorDetector | KernelDetector | AwareDetector:
    """Return what runs the strategy; raises ConfigError where it does not fit the instruments."""
    made = plan.build()
    try:
        if isinstance(made, KernelStrategy):
            made.check_extensions(table.columns)
        else:
            for name in getattr(made, "extensions", ()):
                table.columns.extension(name)
    except ConfigError as error:
        where = f"strategy {plan.config.strategy_id}"
        raise ConfigError(f"{where}: {error.message}", cure=error.cure) from None
    if isinstance(made, KernelStrategy):
        if plan.driver is None:
            raise ConfigError(f"strategy {plan.config.strategy_id}: a kernel without its driver")
        return KernelDetector(made, plan.driver, tokens, len(table))
    length = max(1, made.get_required_history_length())
    own = {dense: stores(dense, length) for dense in tokens}
    inner = ProcessorDetector(
        plan.build,  # type: ignore[arg-type] # build gives processors here, seen above
        tokens,
        own,
        seed=seed,
        strategy_id=plan.config.strategy_id,
    )
    return AwareDetector(inner, portfolio) if is_aware(made) else inner
