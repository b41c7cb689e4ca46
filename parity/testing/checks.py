"""What every strategy has to keep, as checks to be called in a pytest, or by `parity check`.

Each check runs the real engine over a market and yields what is wrong, naming the tick and both
values. Never here: what only makes a strategy bad at trading.
"""

from __future__ import annotations

import copy
import datetime as dt
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import takewhile, zip_longest
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
import numpy as np

from parity.core.asked import asked, history_length_of, supports
from parity.core.calendars import known_sessions
from parity.core.engine import Engine
from parity.core.executor import ExecutorPlan
from parity.core.own_state import SnapshotUnavailable
from parity.core.validators.checks import STAGES, sanity
from parity.model import ticks as flag
from parity.model.effects import ApprovedSignal, Candidate, DroppedSignal, Effect, Failure
from parity.model.errors import ConfigError, KernelError
from parity.model.events import EventBatch
from parity.model.instruments import Instrument, InstrumentTable
from parity.model.kernel import KernelStrategy
from parity.model.ticks import TickBatch
from parity.model.values import SIDE_NAMES, StrategyConfig
from parity.sources.synthetic import generate

if TYPE_CHECKING:
    import numpy.typing as npt

TICKS: Final = 2_400
_WILDER: Final = 4  # prices move this much more than in the demo: most strategies find something
_TICKS_MAX: Final = 60_000
_CUTS: Final = (0.2, 0.5, 0.9)  # where a run is stopped and taken up again


class Market(NamedTuple):
    """Ticks to check on, seq from 1.

    Args:
        table: the instruments.
        records: the ticks, of the table's `tick_dtype`.
        name: what they are, for messages.
    """

    table: InstrumentTable
    records: npt.NDArray[Any]
    name: str


class Broken(NamedTuple):
    """Something a strategy does not keep.

    Args:
        check: which check.
        message: the tick and the values.
        severity: "error", or "warning" for what may be meant.
    """

    check: str
    message: str
    severity: str = "error"


class CheckFailed(AssertionError):
    """A strategy does not keep the contract; the message has a line for each thing."""


def synthetic_market(tokens: Sequence[int] = (), *, on: str = "trades", history: int = 1) -> Market:
    """Return a market of two instruments in which prices trend, swing and jump.

    Args:
        tokens: the strategy's; of one alone, the second instrument is a stranger.
        on: "trades", or "quotes" for two-sided ones.
        history: what the strategy wants, so that there is enough behind it.
    """
    known, records = generate(ticks=min(_TICKS_MAX, max(TICKS, 8 * history)))
    wanted = [*dict.fromkeys(tokens)][:2] or [one.token for one in known]
    if len(wanted) == 1:
        wanted.append(wanted[0] + 1)
    old = records["instrument_token"].copy()
    rows = []
    for token, one in zip(wanted, known, strict=True):
        records["instrument_token"][old == one.token] = token
        rows.append(
            Instrument(
                token=token,
                symbol=str(token),
                price_scale=one.price_scale,
                quantity_scale=one.quantity_scale,
            )
        )
    for token in wanted:
        rows_of = records["instrument_token"] == token
        prices = records["price_int"][rows_of]
        records["price_int"][rows_of] = np.maximum(1, prices[0] + (prices - prices[0]) * _WILDER)
    if on == "quotes":
        records["bid_int"], records["ask_int"] = records["price_int"] - 1, records["price_int"] + 1
        for name in ("bid_quantity_int", "ask_quantity_int"):
            records[name] = records["quantity_int"]
        records["price_int"] = records["quantity_int"] = records["side"] = 0
        absent = flag.NO_BID | flag.NO_ASK | flag.NO_BID_QUANTITY | flag.NO_ASK_QUANTITY
        quote = flag.QUOTE | flag.NO_PRICE | flag.NO_QUANTITY
        records["flags"] = records["flags"] & ~np.uint32(absent | flag.TRADE) | quote
    return Market(InstrumentTable(rows), records, "synthetic ticks")


def check_strategy(
    create: Callable[..., Any],
    *,
    tokens: Sequence[int] = (),
    on: str = "trades",
    market: Market | None = None,
    **parameters: Any,
) -> None:
    """Put a strategy through all checks; for a test of your own.

    Args:
        create: a class or function that makes the processor, or the kernel, of its parameters.
        tokens: the instruments it runs on.
        on: which ticks it wants.
        market: ticks to check on; synthetic ones by default.
        parameters: what `create` is given.

    Raises:
        CheckFailed: naming each check, tick and value.
        ConfigError: as broken().
    """

    def build() -> Any:
        return create(**parameters)

    made = build()
    driver = None
    if isinstance(made, KernelStrategy):
        from parity import codegen

        driver = codegen.build(made, boundscheck=True)
    name = getattr(create, "__name__", type(made).__name__)
    config = StrategyConfig(name, name, {}, instrument_tokens=tuple(tokens), on=on)
    found = broken(ExecutorPlan(config, "paper", build, driver), market)
    lines = [f"{name}: {one.check}: {one.message}" for one in found if one.severity == "error"]
    if lines:
        raise CheckFailed("\n".join(lines))


def broken(plan: ExecutorPlan, market: Market | None = None) -> list[Broken]:
    """Return what a strategy does not keep, in the order of CHECKS.

    Args:
        plan: the strategy as an engine takes it.
        market: ticks to check on; synthetic ones by default.

    Raises:
        ConfigError: it cannot be asked: a method that says what it wants raises, or none of its
            instruments is on the market.
    """
    trial = _Trial(_bounded(plan), market)
    try:
        found = [one for check in CHECKS.values() for one in check(trial)]
    except KernelError as error:  # where bounds are checked an index beyond them ends the run
        return [Broken("raises", error.message)]
    if not trial.candidates and not found:
        said = f"it said nothing over {len(trial.market.records)} {trial.market.name}"
        found.append(Broken("speaks", f"{said}, so little was compared", "warning"))
    return found


def _bounded(plan: ExecutorPlan) -> ExecutorPlan:
    """Return the plan with a driver that checks every index: others would write somewhere else."""
    if plan.driver is None:
        return plan
    from parity import codegen

    made = plan.build()
    if not isinstance(plan.driver, codegen.Driver) or not isinstance(made, KernelStrategy):
        return plan
    return msgspec.structs.replace(plan, driver=codegen.build(made, boundscheck=True))


class _Trial:
    """One strategy on one market, and what came out of it."""

    def __init__(self, plan: ExecutorPlan, market: Market | None) -> None:
        self.plan = plan
        self.made = plan.build()
        self.market = market or synthetic_market(
            self._supported(plan.config.instrument_tokens), on=plan.config.on, history=self.history
        )

    def _supported(self, tokens: Sequence[int]) -> list[int]:
        if isinstance(self.made, KernelStrategy):
            return list(tokens)
        name = self.plan.config.strategy_id
        return [token for token in tokens if supports(self.made, name, token)]

    @property
    def history(self) -> int:
        """How many ticks it wants to see."""
        if isinstance(self.made, KernelStrategy):
            return self.made.history
        return history_length_of(self.made, self.plan.config.strategy_id)

    def engine(self, plan: ExecutorPlan | None = None) -> Engine:
        """A new engine with the strategy alone, on those of its instruments that are there."""
        plan = plan or self.plan
        wanted = plan.config.instrument_tokens
        there = tuple(token for token in wanted if token in self.market.table)
        if wanted and not there:
            raise ConfigError(
                f"none of its instruments ({', '.join(map(str, wanted[:8]))}) is among the "
                f"{self.market.name}",
                cure="check it on a recording of theirs: --on REC",
            )
        config = msgspec.structs.replace(plan.config, instrument_tokens=there)
        table = self.market.table
        plans = [msgspec.structs.replace(plan, config=config)]
        return Engine(table, plans, sessions=known_sessions(table))

    def batch(self, lo: int = 0, hi: int | None = None) -> EventBatch:
        """Ticks [lo, hi) in memory of their own."""
        records = self.market.records[lo:hi].copy()
        return EventBatch(TickBatch.from_records(records, self.market.table))

    @cached_property
    def effects(self) -> list[Effect]:
        """What it did over the whole market, as one batch."""
        return self.engine().process(self.batch())

    @cached_property
    def candidates(self) -> list[Candidate]:
        """What it said."""
        return said(self.effects)

    def at(self, seq: int) -> str:
        """A tick in words."""
        row = self.market.records[int(np.searchsorted(self.market.records["seq"], seq))]
        token, instant = int(row["instrument_token"]), int(row["ts_event"])
        when = dt.datetime.fromtimestamp(instant // 10**9, dt.UTC)
        return f"tick {seq} ({token} at {when:%Y-%m-%dT%H:%M:%S}.{instant % 10**9:09}Z)"

    def compare(self, a: Sequence[Candidate], b: Sequence[Candidate], words: str) -> Iterator[str]:
        """Yield the first place where two lists of candidates part."""
        for one, other in zip_longest(a, b):
            if one is not None and other is not None and one.record == other.record:
                continue
            first = min(c.seq for c in (one, other) if c is not None)
            values = [_words(c) if c and c.seq == first else "nothing" for c in (one, other)]
            yield f"{self.at(first)}: {values[0]}, and {values[1]} {words}"
            return


def said(effects: Sequence[Effect]) -> list[Candidate]:
    """Return the candidates of effects, approved or dropped."""
    return [e.candidate for e in effects if isinstance(e, ApprovedSignal | DroppedSignal)]


def _words(one: Candidate) -> str:
    quantity = one.quantity_exact
    text = f"{SIDE_NAMES[one.side]} {quantity} at {one.price!r} (confidence {one.confidence!r}"
    return f"{text}, metadata {one.metadata})" if one.metadata else f"{text})"


# ---- the checks ----------------------------------------------------------------------------


def _raises(trial: _Trial) -> Iterator[Broken]:
    failures = [e for e in trial.effects if isinstance(e, Failure)]
    for failure in failures[:1]:
        reached = "IndexError" in failure.error
        behind = f"; it sees exactly {trial.history} ticks" if reached else ""
        more = f" (and at {len(failures) - 1} more)" if len(failures) > 1 else ""
        yield Broken("raises", f"{trial.at(failure.seq)}: {failure.error}{behind}{more}")


def _stable(trial: _Trial) -> Iterator[Broken]:
    if isinstance(trial.made, KernelStrategy):
        return
    made: Any = trial.plan.build()
    tokens = [one.token for one in trial.market.table]
    asks: dict[str, Callable[[], Any]] = {
        "get_required_history_length": made.get_required_history_length,
        "get_strategy_name": made.get_strategy_name,
        "supports_instrument": lambda: [made.supports_instrument(token) for token in tokens],
    }
    who = f"strategy {trial.plan.config.strategy_id}"
    before = {name: asked(who, name, ask) for name, ask in asks.items()}
    length = before["get_required_history_length"]
    if isinstance(length, bool) or length < 1:
        expected = "get_required_history_length: expected an integer ≥ 1"
        yield Broken("history_length", f"{expected}, was {length!r}")
    alone = msgspec.structs.replace(trial.plan, build=lambda: made)
    trial.engine(alone).process(trial.batch())
    for name, ask in asks.items():
        if (now := asked(who, name, ask)) != before[name]:
            check = "history_length" if "history" in name else name
            words = f"{name}() gave {before[name]!r} before the ticks and {now!r} behind them"
            yield Broken(check, words)


def _watched(trial: _Trial) -> Iterator[Broken]:
    if isinstance(trial.made, KernelStrategy):  # it gets copies of the values, and no history
        return
    made: Any = trial.plan.build()
    wrong: dict[str, Broken] = {}
    ask = made.process_tick

    def spied(tick: Any, history: Any, **more: Any) -> Any:
        kept, before = list(history), _values(tick)
        answer = ask(tick, history, **more)
        at = f"tick of {tick.instrument_token} at ts_event {tick.ts_event}"
        if (len(history), len(kept), kept[-1]) != (trial.history, trial.history, tick):
            text = f"{at}: {len(history)} ticks, expected {trial.history}"
            wrong.setdefault("history_length", Broken("history_length", text))
        if (after := _values(tick)) != before:
            name = next(name for name, was in before.items() if after[name] != was)
            text = f"{at}: {name} was {before[name]}, is {after[name]}"
            wrong.setdefault("never_mutates", Broken("never_mutates", text))
        return answer

    given = copy.deepcopy(trial.plan.config.parameters)
    spy = _Spy(made, spied)
    trial.engine(msgspec.structs.replace(trial.plan, build=lambda: spy)).process(trial.batch())
    yield from wrong.values()
    if (now_given := trial.plan.config.parameters) != given:
        yield Broken("never_mutates", f"parameters were {given}, are {now_given}")


def _values(tick: Any) -> dict[str, int]:
    column, row = tick._batch.column, tick._row
    return {name: column(name)[row].item() for name in tick._batch.names}


class _Spy:
    """The processor with its process_tick watched; whatever else is asked of it is its own."""

    def __init__(self, made: Any, spied: Callable[..., Any]) -> None:
        self._made = made
        # with the signature of its own, by which the engine knows what else it asks for
        self.process_tick = functools.wraps(made.process_tick)(spied)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._made, name)


def _deterministic(trial: _Trial) -> Iterator[Broken]:
    again = said(trial.engine().process(trial.batch()))
    for text in trial.compare(trial.candidates, again, "when it runs again"):
        yield Broken("deterministic", text)
        return
    engine, one_by_one = trial.engine(), []
    for row in range(len(trial.market.records)):
        one_by_one += said(engine.process(trial.batch(row, row + 1)))
    for text in trial.compare(trial.candidates, one_by_one, "tick by tick"):
        yield Broken("deterministic", text)


def _looks_no_further(trial: _Trial) -> Iterator[Broken]:
    half = len(trial.market.records) // 2
    last = int(trial.market.records["seq"][half - 1])
    whole = [c for c in trial.candidates if c.seq <= last]
    part = said(trial.engine().process(trial.batch(0, half)))
    for text in trial.compare(whole, part, "where the ticks behind it are not there yet"):
        yield Broken("look_ahead", text)


def _silent(trial: _Trial) -> Iterator[Broken]:
    candidates, plan = trial.candidates, trial.plan
    if isinstance(trial.made, KernelStrategy):  # the engine keeps a cold one quiet: ask it alone

        def impatient() -> Any:
            kernel: Any = plan.build()
            return msgspec.structs.replace(kernel, history=1)

        alone = msgspec.structs.replace(plan, build=impatient)
        candidates = said(trial.engine(alone).process(trial.batch()))
    seen: dict[int, int] = {}
    number: dict[int, int] = {}
    for row in trial.market.records:
        token = int(row["instrument_token"])
        number[int(row["seq"])] = seen[token] = seen.get(token, 0) + 1
    for one in candidates:
        at_deadline = one.ordinal < 0  # what a bar says has no tick of its own
        if number[one.seq] < trial.history and not at_deadline:
            nth = f"tick {number[one.seq]} of its instrument, of {trial.history} it asks for"
            yield Broken("silent_before_warm_up", f"{trial.at(one.seq)}: {_words(one)} at {nth}")
            return


def _round_trip(trial: _Trial) -> Iterator[Broken]:
    count = len(trial.market.records)
    for share in _CUTS:
        cut = int(count * share)
        first = trial.engine()
        head = said(first.process(trial.batch(0, cut)))
        try:
            kept = msgspec.msgpack.encode(first.snapshot())
        except SnapshotUnavailable as error:
            yield Broken("snapshot", f"no checkpoints: {error.message}", "warning")
            return
        second = trial.engine()
        try:
            second.restore(msgspec.msgpack.decode(kept))
        except ConfigError as error:  # it is restore() that raised
            yield Broken("snapshot", error.message)
            return
        tail = said(second.process(trial.batch(cut)))
        behind = f"taken up from a snapshot at {trial.at(int(trial.market.records['seq'][cut]))}"
        for text in trial.compare(trial.candidates, [*head, *tail], behind):
            yield Broken("snapshot", text)
            return


def _as_reference(trial: _Trial) -> Iterator[Broken]:
    """Hold a kernel against the processor it names, if it names one."""
    if not isinstance(trial.made, KernelStrategy) or trial.made.reference is None:
        return
    plan = msgspec.structs.replace(trial.plan, build=trial.made.reference, driver=None)
    effects = trial.engine(plan).process(trial.batch())
    for failure in [e for e in effects if isinstance(e, Failure)][:1]:
        yield Broken("reference", f"{trial.at(failure.seq)}: its reference: {failure.error}")
    for text in trial.compare(trial.candidates, said(effects), "by its reference"):
        yield Broken("reference", text)


# What these drop was never held against sanity's numbers: the stages before it, and its own first.
_BEFORE_SANITY: Final = (
    *takewhile(lambda name: name != sanity.__name__, (one.check.__name__ for one in STAGES)),
    "hold",
)


def _sane(trial: _Trial) -> Iterator[Broken]:
    """Yield what no executor could take for an order: an error where it says nothing else."""
    dropped = [e for e in trial.effects if isinstance(e, DroppedSignal)]
    wrong = [e for e in dropped if e.reason.startswith("sanity_")]
    if not wrong:
        return
    judged = [e for e in dropped if e.reason not in _BEFORE_SANITY]
    passed = len(judged) > len(wrong) or any(isinstance(e, ApprovedSignal) for e in trial.effects)
    first, count = wrong[0], len(wrong)
    more = f" (and {count - 1} more)" if count > 1 else ""
    every = "" if passed else "; nothing that it says passes"
    words = f"{trial.at(first.candidate.seq)}: {_words(first.candidate)} is dropped as"
    text = f"{words} {first.reason}, {first.seen}{more}{every}"
    yield Broken("sanity", text, "warning" if passed else "error")


CHECKS: Final[Mapping[str, Callable[[_Trial], Iterator[Broken]]]] = {
    "raises": _raises,
    "candidates pass sanity": _sane,
    "stable answers": _stable,
    "exact history length, input unchanged": _watched,
    "deterministic": _deterministic,
    "as its reference": _as_reference,
    "look-ahead": _looks_no_further,
    "silent before warm-up": _silent,
    "snapshot round trip": _round_trip,
}
