"""What an executor is made of, from its plan: its instruments and its detector."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from parity.core.asked import asked, history_length_of, name_of, supports
from parity.core.aware import AwareDetector
from parity.core.bars import BarFeed
from parity.core.declared import is_aware
from parity.core.detect import KernelDetector, ProcessorDetector
from parity.core.found import NOT_DUE, Found
from parity.core.timers import TimerFeed
from parity.core.told import Feeds
from parity.core.view import FEW_ROWS
from parity.model import ticks as flag
from parity.model.errors import ConfigError
from parity.model.kernel import KernelStrategy
from parity.model.sessions import ALWAYS

if TYPE_CHECKING:
    from parity.core.clocks import Rows
    from parity.core.executor import ExecutorPlan
    from parity.core.history import HistoryStore
    from parity.core.portfolio import PortfolioView
    from parity.core.view import View
    from parity.model.instruments import InstrumentTable
    from parity.model.protocols import StrategyProcessor
    from parity.model.sessions import SessionClock

_FEW_TOKENS: Final = 16  # more are looked for in one pass over the view


def tokens_of(plan: ExecutorPlan, table: InstrumentTable) -> dict[int, int]:
    """Return token by dense id of the instruments the strategy is configured for and supports.

    Raises:
        ConfigError: it supports none of them, or not its broker.
    """
    configured = plan.config.instrument_tokens or tuple(int(t) for t in table.tokens)
    made = plan.build()
    if not isinstance(made, KernelStrategy):
        _check_broker(made, plan)
        name = plan.config.strategy_id
        configured = tuple(t for t in configured if supports(made, name, t))
    if not configured:
        raise ConfigError(
            f"strategy {plan.config.strategy_id}: it supports no configured instrument"
        )
    return {table.dense_id(t): t for t in sorted(set(configured))}


def _check_broker(made: StrategyProcessor, plan: ExecutorPlan) -> None:
    ask, who = getattr(made, "supports_broker", None), f"strategy {plan.config.strategy_id}"
    if ask is not None and not asked(who, "supports_broker", lambda: bool(ask(plan.broker))):
        raise ConfigError(
            f"{who}: {name_of(made)} does not support broker {plan.broker}",
            cure="name another one under `brokers`, or another strategy",
        )


def spoken(found: list[Found], view: View) -> list[Found]:
    """Leave out what was said at warm-up ticks: they fill histories, and nobody trades on them."""
    ticks, flags = view.segment.batch.column("flags").item, view.batch.column("flags").item
    return [
        f
        for f in found
        if not (flags(f.row) if f.due_ns == NOT_DUE else ticks(f.row)) & flag.WARMUP
    ]


def clocks_of(
    tokens: Iterable[int], table: InstrumentTable, sessions: Mapping[str, SessionClock]
) -> dict[int, SessionClock]:
    """Return the session of every instrument that does not trade round the clock, by token.

    Raises:
        ConfigError: there is no table of its calendar.
    """
    found: dict[int, SessionClock] = {}
    for token in tokens:
        calendar = table.by_token(token).calendar
        if calendar == ALWAYS:
            continue
        if calendar not in sessions:
            raise ConfigError(
                f"instrument {token}: its calendar {calendar!r} has no table of sessions",
                cure=f"give the engine one, or let its calendar be {ALWAYS}",
            )
        found[token] = sessions[calendar]
    return found


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
    length = history_length_of(made, plan.config.strategy_id)
    own = {dense: stores(dense, length) for dense in tokens}
    inner = ProcessorDetector(
        plan.build,  # type: ignore[arg-type] # build gives processors here, seen above
        tokens,
        own,
        length=length,
        seed=seed,
        strategy_id=plan.config.strategy_id,
    )
    return AwareDetector(inner, portfolio) if is_aware(made) else inner


def feeds_of(
    detector: ProcessorDetector | KernelDetector | AwareDetector,
    tokens: Mapping[int, int],
    table: InstrumentTable,
    on: str,
    clocks: Mapping[int, SessionClock],
) -> Feeds | None:
    """Return the bars and timers that a strategy asks for; None where it asks for neither."""
    bars, timers = detector.bars, detector.timers
    if bars is None and not timers:
        return None
    return Feeds(
        None if bars is None else BarFeed(bars, tokens, table, on),
        TimerFeed(timers, tokens, clocks) if timers else None,
    )


def own_rows(view: View, tokens: Mapping[int, int], mine: npt.NDArray[np.bool_]) -> Rows | None:
    """Return the view's rows of an executor's instruments, each looked up once for all.

    None is all of them, as it often is where they are few.

    Args:
        view: ticks of its kind.
        tokens: its instrument tokens by dense id.
        mine: by dense id, whether it is one of them.
    """
    if len(view) < FEW_ROWS:
        own = [r for r, dense in enumerate(view.inst_list) if dense in tokens]
        return None if len(own) == view.count else np.array(own, np.int64)
    if len(tokens) > _FEW_TOKENS:
        return np.flatnonzero(mine[view.inst])
    found = [view.rows_of(dense) for dense in tokens]
    return found[0] if len(found) == 1 else np.sort(np.concatenate(found))
