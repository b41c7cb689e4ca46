"""The executors of an engine, in the order of their keys, and the histories that they share.

The set changes at barriers only. A history goes as deep as the longest that somebody asks for; it
is gone with its last reader. Never here: what a control means.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from parity.core.executor import Executor, ExecutorPlan
from parity.core.history import HistoryStore
from parity.core.routing import Routes
from parity.core.validators.context import RiskPolicy
from parity.model.errors import ConfigError

if TYPE_CHECKING:
    from parity.core.view import Segment
    from parity.model.instruments import InstrumentTable
    from parity.model.sessions import SessionClock

# From a strategy as a control or a checkpoint carries it to its plans, one per broker.
Planner = Callable[[Mapping[str, Any]], Sequence[ExecutorPlan]]
Key = tuple[str, str]


class Roster:
    """Executors that may be added and replaced while an engine runs.

    Args:
        table: the instruments.
        plans: those that run from the start.
        seed: of the strategies' random streams.
        planner: makes the plans of strategies that come later; None where none can.
        sessions: by the name of an instrument's calendar.

    Raises:
        ConfigError: two plans of one (strategy, broker), or a plan that fits no instrument.
    """

    def __init__(
        self,
        table: InstrumentTable,
        plans: Sequence[ExecutorPlan],
        seed: int,
        planner: Planner | None,
        sessions: Mapping[str, SessionClock],
    ) -> None:
        self._table = table
        self._plans = plans
        self._seed = seed
        self._sessions = sessions
        self.planner = planner
        self.policy = RiskPolicy()
        self._stores: dict[str, dict[int, HistoryStore]] = {"trades": {}, "quotes": {}}
        self.executors: list[Executor] = []
        self.add(plans)

    def follow(self, policy: RiskPolicy) -> None:
        """Let every executor, and those to come, follow a policy."""
        self.policy = policy
        for executor in self.executors:
            executor.gate.follow(policy)

    @property
    def has_histories(self) -> bool:
        """Whether anybody is shown ticks as objects."""
        return any(self._stores.values())

    def of(self, strategy_id: str, broker: str = "") -> list[Executor]:
        """Return a strategy's executors: at one broker, or at all of them."""
        return [e for e in self.executors if e.key[0] == strategy_id and broker in ("", e.key[1])]

    def add(
        self, plans: Sequence[ExecutorPlan], origin: Mapping[str, Any] | None = None
    ) -> list[Executor]:
        """Add executors behind all that was processed; they begin with the next event, cold.

        Args:
            plans: of them.
            origin: the strategy as a control carried it; None where it ran from the start.

        Raises:
            ConfigError: one of them is there already, or fits no instrument. Nothing is added.
        """
        keys = {executor.key for executor in self.executors}
        made: list[Executor] = []
        try:
            for plan in plans:
                executor = self._made(plan, origin)
                if executor.key in keys:
                    name, broker = executor.key
                    raise ConfigError(f"strategy {name} stands twice at {broker}")
                keys.add(executor.key)
                made.append(executor)
        except BaseException:
            made = []
            raise
        finally:
            self._settle([*self.executors, *made])  # a history made deeper for nothing, too
        return made

    def make(self, plans: Sequence[ExecutorPlan], origin: Mapping[str, Any]) -> list[Executor]:
        """Return executors in nobody's place yet: put() comes next, or fit_histories()."""
        return [self._made(plan, origin) for plan in plans]

    def put(self, made: Sequence[Executor]) -> None:
        """Put executors in the places of those of their keys."""
        keys = {executor.key for executor in made}
        self._settle([*made, *(e for e in self.executors if e.key not in keys)])

    def _made(self, plan: ExecutorPlan, origin: Mapping[str, Any] | None) -> Executor:
        store = self._store(plan)
        executor = Executor(plan, self._table, store, seed=self._seed, sessions=self._sessions)
        executor.origin = origin
        executor.gate.follow(self.policy)
        return executor

    def _store(self, plan: ExecutorPlan) -> Callable[[int, int], HistoryStore]:
        stores = self._stores[plan.config.on]

        def store(dense: int, depth: int) -> HistoryStore:
            kept = stores.setdefault(dense, HistoryStore(depth))
            kept.resize(max(kept.depth, depth))
            return kept

        return store

    def _settle(self, executors: Sequence[Executor]) -> None:
        """Take these executors from here on; let every history be as deep as they need."""
        self.executors = sorted(executors, key=lambda executor: executor.key)
        self._routes = Routes(self.executors, len(self._table))
        self.fit_histories()

    def fit_histories(self) -> None:
        """Let every history be as deep as the executors that are fed need it."""
        needed: dict[tuple[str, int], int] = {}
        for executor in self.executors:
            for dense, depth in executor.histories.items():
                place = (executor.on, dense)
                needed[place] = max(needed.get(place, 0), depth)
        for on, stores in self._stores.items():
            for dense in [*stores]:
                if (on, dense) in needed:
                    stores[dense].resize(needed[on, dense])
                else:
                    del stores[dense]

    # -- segments ----------------------------------------------------------------------------

    def feed(self, segment: Segment) -> None:
        """Append a segment's ticks to the histories."""
        for on, stores in self._stores.items():
            if stores:
                segment.view(on).feed(stores)

    def concerned(self, segment: Segment) -> Sequence[Executor]:
        """Return the executors on whose instruments a segment has ticks, in order."""
        return self._routes.concerned(segment)

    # -- snapshot ----------------------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        """Return histories and executors; raises SnapshotUnavailable."""
        return {
            "policy": msgspec.to_builtins(self.policy),
            "stores": {
                on: {str(d): s.snapshot() for d, s in sorted(stores.items())}
                for on, stores in self._stores.items()
            },
            "executors": [e.snapshot() for e in self.executors],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take back what snapshot() gave, with the executors that there were then.

        Raises:
            ConfigError: it is of other strategies, or one that came later cannot be made again.
        """
        started = {(plan.config.strategy_id, plan.broker): plan for plan in self._plans}
        kept = state["executors"]
        keys = [tuple(one["key"]) for one in kept]
        if not {*started} <= {*keys}:
            lost = sorted({*started} - {*keys})
            raise ConfigError(
                f"checkpoint of executors {[list(key) for key in keys]}: it was made by other "
                f"strategies, {[list(key) for key in lost]} are not among them"
            )
        there = {executor.key: executor for executor in self.executors}
        self.policy = RiskPolicy.of(state["policy"])
        made = []
        for one in kept:
            key, origin = tuple(one["key"]), one["origin"]
            if key in there and origin is None and there[key].origin is None:
                made.append(there[key])
                continue
            plan = started.get(key) if origin is None else self._planned(key, origin)
            if plan is None:
                raise ConfigError(f"checkpoint of executor {list(key)}: no such strategy runs")
            made.append(self._made(plan, origin))
        self._settle(made)
        for executor, one in zip(self.executors, kept, strict=True):
            executor.life.restore(one["life"])  # a stopped one reads no history
        self.fit_histories()
        for on, stores in state["stores"].items():
            for dense, columns in stores.items():
                self._stores[on][int(dense)].restore(columns, self._table)
        for executor, one in zip(self.executors, kept, strict=True):
            executor.restore(one)

    def _planned(self, key: Key, origin: Mapping[str, Any]) -> ExecutorPlan:
        for plan in self.planner(origin) if self.planner is not None else ():
            if (plan.config.strategy_id, plan.broker) == key:
                return plan
        raise ConfigError(
            f"checkpoint of executor {list(key)}: it came by a control, and cannot be made again",
            cure="let the engine have the planner of the run's strategies",
        )
