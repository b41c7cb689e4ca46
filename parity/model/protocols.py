"""The ports of parity: what a strategy, a source, a publisher and a model have to look like.

Protocols only; nobody inherits from them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from parity.model.effects import ApprovedSignal, Candidate
    from parity.model.events import EventBatch
    from parity.model.instruments import InstrumentTable
    from parity.model.values import MarketTick, SignalResult


class History(Protocol):
    """A processor's view of its own last ticks of one instrument, the current one included.

    It has exactly `get_required_history_length()` ticks and is valid during the call; the numpy
    columns it hands out (read-only, no copy) stay valid.
    """

    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> MarketTick: ...
    def __iter__(self) -> Iterator[MarketTick]: ...
    @property
    def price(self) -> npt.NDArray[np.float64]: ...
    @property
    def price_int(self) -> npt.NDArray[np.int64]: ...
    @property
    def quantity(self) -> npt.NDArray[np.float64]: ...
    @property
    def ts_event(self) -> npt.NDArray[np.int64]: ...
    @property
    def side(self) -> npt.NDArray[np.int8]: ...


class StrategyProcessor(Protocol):
    """The strategy logic inside an executor; rules, ML and hybrids look the same.

    Optional: `snapshot() -> dict` and `restore(dict)` for own state (plain values), and further
    parameters of process_tick: `rng` receives the tick's own random stream, `portfolio` the
    strategy's portfolio, read-only; then several signals may be returned or yielded. With an
    attribute `bars` (parity.model.bars.Bars) it has `process_bar(bar, history)` too, with `timers`
    (parity.model.timers) `on_timer(timer, history)`, each with the same further parameters. A
    method `supports_broker(broker) -> bool` is asked at the start.
    """

    def process_tick(self, tick: MarketTick, history: Any) -> SignalResult | None: ...
    def get_required_history_length(self) -> int: ...
    def supports_instrument(self, token: int) -> bool: ...
    def get_strategy_name(self) -> str: ...


@runtime_checkable
class MLCapable(Protocol):
    """Optional capability of a processor that asks a model, recognised by its methods."""

    def load_model(self) -> bool: ...
    def extract_features(self, tick: MarketTick, history: Any) -> Any: ...
    def predict_signal(self, features: Any) -> SignalResult | None: ...


class SignalValidator(Protocol):
    """A registered validator: why a candidate may not become a signal, or None.

    Asked behind the standard ones, with the candidate, its tick, the processor's history at it
    (None for kernels) and what surrounds it (parity.core.validators.context.Context). A pure
    function: it keeps nothing between calls and changes nothing that it is shown.
    """

    def __call__(
        self, candidate: Candidate, tick: MarketTick, history: Any, context: Any
    ) -> str | None: ...


class Model(Protocol):
    """A loaded model: float32 features in, float32 outputs out, one row at a time."""

    sha256: str

    def predict(
        self, features: Sequence[float] | npt.NDArray[np.float32]
    ) -> npt.NDArray[np.float32]: ...


class DecisionPolicy(Protocol):
    """How a hybrid strategy merges a rules signal and an ML signal into one."""

    def decide(
        self,
        rules_signal: SignalResult | None,
        ml_signal: SignalResult | None,
        context: dict[str, Any] | None = None,
    ) -> SignalResult | None: ...


class TickSource(Protocol):
    """Where events come from, already in seq order (a recording)."""

    table: InstrumentTable

    def batches(self) -> Iterator[EventBatch]: ...


class LiveSource(Protocol):
    """Where raw messages come from, not yet in an order of ours (a broker)."""

    def messages(self) -> AsyncIterator[Sequence[Any]]: ...


class SignalPublisher(Protocol):
    """Where approved signals go; only an ApprovedSignal fits its hand."""

    async def publish(self, signal: ApprovedSignal, *, strategy_id: str, broker: str) -> None: ...


class HistoryProvider(Protocol):
    """Where the ticks before the first live tick come from (`parity.recording.past` has one).

    `last_ticks` gives the last `count` ticks of one instrument that strategies are shown, and where
    it has trades and quotes, so many of each; in the order they came, fewer where there are no
    more. Prices are counted in the decimals of the run's instrument table. Their `seq` and verdicts
    are not looked at, but that a duplicate or skewed tick is left out.
    """

    def last_ticks(self, token: int, count: int) -> EventBatch: ...
