"""The synchronous face of the engine, for callers with a loop of their own.

`StrategyRunnerService` takes rows and ticks, `StrategyExecutor` one processor; both feed the one
engine tick by tick and give back its signals. Nothing is decided here, and nothing is recorded:
what has to be proved later runs as a paper run instead.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from parity.compose.exports import strategy_needs
from parity.compose.hand import HandFeed, result_of, table_of
from parity.compose.plans import gather
from parity.core.executor import ExecutorPlan
from parity.model.errors import ConfigError, StrategyWarning
from parity.model.kernel import KernelStrategy
from parity.model.values import ExecutionContext, StrategyConfig
from parity.recording.past import gathered
from parity.settings.drafts import lift_risk
from parity.settings.pyfile import PROCESSOR_METHODS
from parity.settings.strategies import load_rows
from parity.strategies.functional import FunctionStrategy

if TYPE_CHECKING:
    from parity.core.engine import RunReport
    from parity.model.effects import Effect
    from parity.model.instruments import InstrumentTable
    from parity.model.protocols import HistoryProvider
    from parity.model.values import SignalResult


class StrategyRunnerService:
    """Strategies from rows, ticks by hand, signals back.

    Every strategy of the rows is an executor of one engine, with its own history, validators and
    paper portfolio; a tick reaches those that want its instrument and no other.

    Args:
        strategies: Python files (or one) whose strategies the rows may name, beside the shipped
            ones and those that installed packages register.
        instruments: the instruments and their scales; by default those of the rows, with prices
            and quantities of up to eight decimals.
        seed: of the strategies' random streams.

    Attributes:
        skipped: why a row has no executor, by its id.
        effects: all that the last tick caused, drops and fills included.
    """

    def __init__(
        self,
        strategies: Sequence[str | Path] | str | Path = (),
        *,
        instruments: InstrumentTable | None = None,
        seed: int = 0,
    ) -> None:
        self.skipped: dict[str, str] = {}
        self.effects: list[Effect] = []
        self._sources = [strategies] if isinstance(strategies, str | Path) else list(strategies)
        self._table = instruments
        self._seed = seed
        self._plans: dict[str, list[ExecutorPlan]] = {}
        self._routes: dict[int, list[str]] = {}
        self._feed: HandFeed | None = None

    @property
    def instrument_to_strategies(self) -> dict[int, tuple[str, ...]]:
        """Which strategies get the ticks of which instrument."""
        return {token: tuple(ids) for token, ids in self._routes.items()}

    def register_from_config(self, row: Mapping[str, Any]) -> None:
        """Take a strategy; from the next tick on it is fed, and warms up first.

        A row that is not enabled, or whose model does not load, is left out: `skipped` says why,
        and for the model a StrategyWarning.

        Args:
            row: with the keys of a configuration (docs/strategies.md).

        Raises:
            ConfigError: the row is wrong, its id stands already, or it names an instrument that
                came too late; nothing is registered then.
        """
        (spec,) = load_rows([row], self._sources)
        name = spec.strategy_id
        if name in self._plans:
            raise ConfigError(f"strategy {name!r} is registered already", cure="give it another id")
        made = gather([spec])
        if made.skipped:
            self.skipped[name] = made.skipped[0]["reason"]
            if spec.config.enabled:
                said = f"strategy {name} is skipped: {self.skipped[name]}"
                warnings.warn(said, StrategyWarning, stacklevel=2)
            return
        tokens = self._tokens(spec.config)
        if self._feed is not None:
            self._feed.engine.add(made.plans)
        else:  # what an engine would refuse is refused now, not at the first tick
            HandFeed(self._table or table_of(tokens), made.plans, self._seed)
        self._plans[name] = made.plans
        self.skipped.pop(name, None)
        for token in tokens:
            self._routes.setdefault(token, []).append(name)

    def _tokens(self, config: StrategyConfig) -> tuple[int, ...]:
        table = self._feed.table if self._feed is not None else self._table
        if table is None:
            if not config.instrument_tokens:
                raise ConfigError(
                    f"strategy {config.strategy_id}: instruments: all of which?",
                    cure="name them, or give StrategyRunnerService(instruments=…)",
                )
            return config.instrument_tokens
        late = [token for token in config.instrument_tokens if token not in table]
        if late:
            raise ConfigError(
                f"strategy {config.strategy_id}: instrument {late[0]} is not in the table, which "
                "is fixed before the first tick",
                cure="give StrategyRunnerService(instruments=…), or register it before",
            )
        return config.instrument_tokens or tuple(one.token for one in table)

    def warm_up(self, history: HistoryProvider) -> int:
        """Fill the strategies' histories before the first tick; nothing is said at these ticks.

        Args:
            history: asked once for each instrument, for as many ticks as its strategies need.

        Returns:
            How many ticks it gave.

        Raises:
            ConfigError: a tick came already, or prices have other decimals than the table's.
            InputRefused: it gave ticks of another instrument.
        """
        if self._feed is not None:
            raise ConfigError("warm-up comes before the first tick", cure="call warm_up() sooner")
        plans = [plan for plans in self._plans.values() for plan in plans]
        feed = self._begun()
        needs = strategy_needs(plans, list(self._routes))
        ticks = gathered(history, feed.table, needs)
        feed.warm(ticks)
        self._feed = feed
        return len(ticks)

    def _begun(self) -> HandFeed:
        plans = [plan for plans in self._plans.values() for plan in plans]
        return HandFeed(self._table or table_of(self._routes), plans, self._seed)

    def on_market_tick(self, tick: Any) -> list[SignalResult]:
        """Push one tick; return the signals it caused, in the order of their strategies' ids.

        A strategy that raises loses this tick and nobody else anything; a StrategyWarning says so.

        Args:
            tick: a MarketTick, or anything with its three fields. Ticks come in the order in which
                they are to be decided on; one without a zone counts as UTC, with a warning.

        Raises:
            InputRefused: no price, no time, or more decimals than its instrument's scale.
        """
        self.effects = []
        if tick.instrument_token not in self._routes:
            return []
        if self._feed is None:
            self._feed = self._begun()
        self.effects = self._feed.push(tick)
        return _signals(self.effects)

    def report(self) -> RunReport:
        """Return counts, profit and digests of every executor so far.

        Raises:
            ConfigError: no tick came yet.
        """
        if self._feed is None:
            raise ConfigError("no tick came yet", cure="push one: on_market_tick(tick)")
        return self._feed.engine.report()


class StrategyExecutor:
    """One processor at one broker, with its history and validators, fed by hand.

    Args:
        processor: any processor, KernelStrategy or `@strategy` function. It is used as it is; to
            come back from an exception it has snapshot() and restore(), or can be copied.
        validator: asked behind the standard ones: a function (candidate, tick, history, context)
            that gives a reason or None, or an object whose `validate` takes these, or, as older
            code, (signal, tick, history) and gives the signal back or None.
        config: which instruments, limits and parameters; by default none.
        context: which broker.

    Raises:
        ConfigError: a part of the context that nothing here could act on.
    """

    def __init__(
        self,
        processor: Any,
        validator: Any = None,
        config: StrategyConfig | None = None,
        context: ExecutionContext | None = None,
    ) -> None:
        processor = _hosted(processor)
        name = processor.name if _is_kernel(processor) else processor.get_strategy_name()
        self.processor = processor
        self.validator = validator
        self.config = config or StrategyConfig(strategy_id=name, strategy_type=name)
        self.context = context or ExecutionContext()
        self.effects: list[Effect] = []
        self._plan = _plan(processor, validator, self.config, self.context)
        self._feed: HandFeed | None = None

    def on_tick(self, tick: Any) -> SignalResult | None:
        """Push one tick; return the signal it caused, or None.

        A tick of another instrument than the configured ones, or of one that the processor does
        not support, does nothing. Without configured instruments, the first tick's is the one.

        Raises:
            InputRefused: as StrategyRunnerService.on_market_tick.
        """
        token = tick.instrument_token
        wanted = self.config.instrument_tokens
        self.effects = []
        if not self.config.enabled or (wanted and token not in wanted):
            return None
        if not _is_kernel(self.processor) and not self.processor.supports_instrument(token):
            return None
        if self._feed is None:
            self._feed = HandFeed(table_of(wanted or (token,)), [self._plan])
        self.effects = self._feed.push(tick)
        return next(iter(_signals(self.effects)), None)


def _hosted(processor: Any) -> Any:
    """Return what can be hosted: a decorated function makes its processor."""
    if isinstance(processor, FunctionStrategy):
        return processor.create({})
    lacking = [m for m in PROCESSOR_METHODS if not callable(getattr(processor, m, None))]
    if lacking and not _is_kernel(processor):
        raise ConfigError(
            f"processor: a {type(processor).__name__} without {', '.join(lacking)}",
            cure="give a processor (those four methods), a KernelStrategy or a @strategy function",
        )
    return processor


def _is_kernel(processor: Any) -> bool:
    return isinstance(processor, KernelStrategy)


def _signals(effects: Sequence[Effect]) -> list[SignalResult]:
    return [signal for effect in effects if (signal := result_of(effect)) is not None]


# ---- a plan of parts that are there already --------------------------------------------------

_UNUSED: Final = {"portfolio_state": {}, "market_session": "regular"}


def _plan(
    processor: Any, validator: Any, config: StrategyConfig, context: ExecutionContext
) -> ExecutorPlan:
    for name, neutral in _UNUSED.items():
        if getattr(context, name) != neutral:
            raise ConfigError(
                f"context.{name}: {getattr(context, name)!r} cannot be acted on here",
                cure="positions come from fills, sessions from the instruments' calendars",
            )
    given = dict(config.parameters)
    faults = lift_risk(given, {})
    limits = {**context.risk_limits, **given.get("risk", {})}
    if faults:
        raise ConfigError(f"parameters.{faults[0][0]}: {faults[0][1]}", cure=faults[0][2])
    if limits:
        given["risk"] = limits
    checked = msgspec.structs.replace(
        config, parameters=given, validator="own" if validator is not None else config.validator
    )
    driver = None
    if _is_kernel(processor):
        from parity import codegen

        driver = codegen.build(processor)
    return ExecutorPlan(checked, context.broker, _Builds(processor), driver, _asked(validator))


class _Builds:
    """Gives the processor itself until its engine stands, then fresh copies of how it was."""

    def __init__(self, processor: Any) -> None:
        self._processor = processor
        self._taken = False
        try:
            self._fresh = copy.deepcopy(processor)
        except Exception:  # a user's class may refuse; it matters where it raises, no sooner
            self._fresh = None

    def __call__(self) -> Any:
        if not self._taken:
            return self._processor
        if self._fresh is None:
            raise ConfigError(
                f"{self._processor.get_strategy_name()} raised, and cannot be made anew",
                cure="give it a __deepcopy__, or run it from a file",
            )
        return copy.deepcopy(self._fresh)

    def taken(self) -> None:
        """From now on the processor is the engine's."""
        self._taken = True


def _asked(validator: Any) -> Callable[..., str | None] | None:
    if validator is None:
        return None
    ask: Callable[..., Any] = getattr(validator, "validate", validator)
    if not callable(ask):
        raise ConfigError(
            f"validator: a {type(validator).__name__} cannot be asked",
            cure="give a function (candidate, tick, history, context) -> reason or None",
        )
    return ask if _takes_four(ask) else _older(ask)


def _takes_four(ask: Callable[..., Any]) -> bool:
    import inspect

    return len(inspect.signature(ask).parameters) >= 4


def _older(validate: Callable[..., Any]) -> Callable[..., str | None]:
    def ask(candidate: Any, tick: Any, history: Any, context: Any) -> str | None:
        signal = result_of(candidate, context.quantity)
        said = validate(signal, tick, [] if history is None else list(history))
        if said is None:
            return "refused"
        if said != signal:
            raise ConfigError("a validator approves a signal or refuses it; it changes none")
        return None

    return ask
