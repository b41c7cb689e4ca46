"""What `parity new` writes: texts in which NAME and CLASS are replaced. Each works as it is."""

from __future__ import annotations

from typing import Final

RULES: Final = '''"""NAME: goes against a price that moved too far. Say here what yours does.

It sees one tick and the last ticks of the same instrument, and nothing else: no clock, no file, no
position. What it may use, and how it is checked: docs/strategies.md of parity.
"""

from __future__ import annotations

from typing import Any

from parity import MarketTick, SignalResult


class CLASS:
    """Sells what rose, and buys what fell, by `move` within `lookback_periods` ticks."""

    def __init__(
        self, *, lookback_periods: int = 20, move: float = 0.003, quantity: float = 1
    ) -> None:
        self.lookback_periods = lookback_periods
        self.move = move
        self.quantity = quantity

    def get_strategy_name(self) -> str:
        """Say its name."""
        return "NAME"

    def get_required_history_length(self) -> int:
        """Say how many ticks it is shown, the current one counted; it is first called then."""
        return self.lookback_periods

    def supports_instrument(self, token: int) -> bool:
        """Say whether an instrument suits it; the configuration names them."""
        return True

    def process_tick(self, tick: MarketTick, history: Any) -> SignalResult | None:
        """Look at one tick; say BUY, SELL or nothing."""
        change = tick.price / history[0].price - 1
        if abs(change) < self.move:
            return None
        return SignalResult(
            "SELL" if change > 0 else "BUY",
            confidence=min(1.0, 100 * abs(change)),
            quantity=self.quantity,
            price=tick.price,
            reasoning=f"{change:+.2%} in {len(history)} ticks",
            metadata={"change": change},
        )
'''

_TEST: Final = '''"""NAME: the contract of every strategy, and its own rule by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import parity as pt
MORE
from NAME import IMPORTED

HERE = Path(__file__).parent
START = datetime(2025, 1, 6, 9, 15, tzinfo=UTC)


def said(*prices: float, **parameters: Any) -> list[str | None]:
    """Return what it says at each of the prices, a second apart."""
    executor = pt.StrategyExecutor(MADE)
    found = []
    for n, price in enumerate(prices):
        signal = executor.on_tick(pt.MarketTick(1, price, START + timedelta(seconds=n)))
        found.append(signal.signal_type if signal else None)
    return found


def test_it_keeps_the_contract() -> None:
    """The same twice, tick by tick, without look-ahead, from a snapshot: `parity check`."""
    report = pt.check(HERE / "NAME.py", HERE / "NAME.yaml")

    assert report.ok, str(report)


'''


def _test(imported: str, made: str, more: str = "") -> str:
    # What the tests of all kinds begin with: only what is imported, and how it is made, differ.
    return _TEST.replace("IMPORTED", imported).replace("MADE", made).replace("MORE\n", f"{more}\n")


RULES_TEST: Final = (
    _test("CLASS", "CLASS(**parameters)")
    + '''def test_it_goes_against_the_move() -> None:
    """It is silent until its window is full, then answers a move of 1 % with the other side."""
    given = {"lookback_periods": 3, "move": 0.01}

    assert [None, None, "BUY"] == said(100, 100, 98, **given)
    assert [None, None, "SELL", None] == said(100, 100, 102, 100.5, **given)
    assert [None] * 4 == said(100, 100.5, 100, 100.5, **given)
'''
)

RULES_ROW: Final = """# How NAME runs; every key is told in docs/strategies.md of parity.
strategy_name: NAME
strategy_type: NAME.py:CLASS
instruments: all # or a list of instrument tokens
parameters:
  lookback_periods: 20
  move: 0.003 # a fraction: 0.003 is 0.3 %
  quantity: 1
  risk: # what its signals have to pass; each refused one is counted with its reason
    cooldown_sec: 30
"""

KERNEL: Final = '''"""NAME: buys after falls in a row, compiled. Say here what yours does.

`step` is compiled by numba and sees one tick of one instrument at a time, in the state of that
instrument; sums belong on integers. What it may use: docs/strategies.md of parity.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from parity.model.kernel import KernelStrategy, out_dtype
from parity.model.parameters import Parameter, check_parameters

PARAMETERS = {
    "length": Parameter("int", 4, minimum=1, doc="falls in a row"),
    "quantity": Parameter("float", 1.0, exclusive_minimum=0, doc="quantity of a signal"),
}
STATE = np.dtype([("last", "i8"), ("falls", "i8")], align=True)  # zeros at first
PARAMS = np.dtype([("length", "i8"), ("quantity", "f8")], align=True)


def step(state: Any, params: Any, out: Any, price_int: int, price: float) -> int:
    """Take one tick; 0 is nothing, above 0 the candidate written into `out`."""
    state.falls = state.falls + 1 if price_int < state.last else 0
    state.last = price_int
    if state.falls < params.length:
        return 0
    out.side = 1
    out.confidence = 0.6
    out.quantity = params.quantity
    out.price = price
    out.falls = state.falls
    return 1


def describe(candidate: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Say in words what a candidate is, and what of it is kept and compared."""
    return f"{candidate['falls']} falls in a row", {"falls": candidate["falls"]}


def create_NAME(parameters: Mapping[str, Any]) -> KernelStrategy:
    """Make the kernel of its parameters."""
    given = check_parameters(PARAMETERS, parameters)
    return KernelStrategy(
        name="NAME",
        step=step,
        state=STATE,
        params=np.array((given["length"], given["quantity"]), PARAMS),
        out=out_dtype(("falls", "i8")),
        columns=("price_int", "price"),
        history=given["length"] + 1,
        describe=describe,
    )
'''

KERNEL_TEST: Final = (
    _test("create_NAME", "create_NAME(parameters)")
    + '''def test_it_buys_after_falls_in_a_row() -> None:
    """A rise, and a price that stays, begin the count anew."""
    assert [None, None, "BUY", "BUY", None] == said(10, 9, 8, 7, 8, length=2)
    assert [None] * 5 == said(10, 9, 9, 8, 8, length=2)
'''
)

KERNEL_ROW: Final = """# How NAME runs; every key is told in docs/strategies.md of parity.
strategy_name: NAME
strategy_type: NAME.py:NAME
instruments: all # or a list of instrument tokens
parameters:
  length: 4
  quantity: 1
  risk: # what its signals have to pass; each refused one is counted with its reason
    cooldown_sec: 30
"""

TIMERS: Final = '''"""NAME: buys what fell since its last look, and leaves before the session ends.

It is called at instants of its own time, be there a tick or not, and for each instrument. What it
may use, and how it is checked: docs/strategies.md of parity.
"""

from __future__ import annotations

from typing import Any

from parity import MarketTick, SignalResult
from parity.model.timers import AtClose, AtOpen, Every, Timer


class CLASS:
    """Buys what fell by `drop` in `seconds`; holds nothing in the last minutes of a session."""

    def __init__(self, *, seconds: float = 60, drop: float = 0.001, quantity: float = 1) -> None:
        # Those of one instant are told in this order, so it leaves before it looks.
        self.timers = [AtOpen(), AtClose(offset_sec=-300), Every(seconds)]
        self.drop = drop
        self.quantity = quantity
        self.before: dict[str, float] = {}  # by token, as text: it is kept in checkpoints
        self.leaving: dict[str, bool] = {}

    def get_strategy_name(self) -> str:
        """Say its name."""
        return "NAME"

    def get_required_history_length(self) -> int:
        """Say how many ticks it is shown; it is first called then."""
        return 1

    def supports_instrument(self, token: int) -> bool:
        """Say whether an instrument suits it; the configuration names them."""
        return True

    def process_tick(self, tick: MarketTick, history: Any) -> SignalResult | None:
        """Look at one tick; here nothing is said of it."""
        return None

    def on_timer(self, timer: Timer, history: Any, portfolio: Any) -> SignalResult | None:
        """Look at the newest tick of an instrument; say BUY, SELL or nothing."""
        token, price = str(timer.instrument_token), history[-1].price
        if not isinstance(timer.declared, Every):
            self.leaving[token] = isinstance(timer.declared, AtClose)
        if self.leaving.get(token):
            # What waits counts too: it fills at the next tick, as this will.
            held = portfolio.projected(timer.instrument_token)
            return SignalResult("SELL", 1.0, held, price, "evening") if held > 0 else None
        before, self.before[token] = self.before.get(token, price), price
        change = price / before - 1
        if change > -self.drop:
            return None
        return SignalResult(
            "BUY", 0.6, self.quantity, price, f"{change:+.2%} since", {"change": change}
        )
'''

TIMERS_TEST: Final = (
    _test(
        "CLASS",
        "CLASS(**parameters)",
        """from parity.model.effects import Fill
from parity.settings.yaml import load_yaml
""",
    )
    + '''def test_it_looks_at_its_instants() -> None:
    """At the last price before each; what came between does not count."""
    given = {"seconds": 2, "drop": 0.01}

    assert [None, None, None, None, "BUY"] == said(100, 100, 100, 98, 100, **given)
    assert [None] * 5 == said(100, 100, 98, 100, 9, **given)


def test_it_holds_nothing_when_the_session_ends() -> None:
    """As configured, on an exchange that closes 45 minutes behind START, while prices fall."""
    listed = {"symbol": "ANY", "price_scale": 2, "quantity_scale": 0, "calendar": "NSE"}
    table = pt.InstrumentTable([pt.Instrument(token=1, **listed)])
    service = pt.StrategyRunnerService(HERE / "NAME.py", instruments=table)
    service.register_from_config(load_yaml(HERE / "NAME.yaml").plain())
    spoken, held = [], [0]
    for n in range(300):
        tick = pt.MarketTick(1, round(200 - n / 20, 2), START + timedelta(seconds=10 * n))
        spoken += [signal.signal_type for signal in service.on_market_tick(tick)]
        fills = [effect for effect in service.effects if isinstance(effect, Fill)]
        held.append(held[-1] + sum(fill.side * fill.quantity for fill in fills))

    assert ["BUY"] * 38 + ["SELL"] == spoken
    assert (38, 0) == (max(held), held[-1])
'''
)

TIMERS_ROW: Final = """# How NAME runs; every key is told in docs/strategies.md of parity.
strategy_name: NAME
strategy_type: NAME.py:CLASS
instruments: all # or a list of instrument tokens
parameters:
  seconds: 60
  drop: 0.001 # a fraction: 0.001 is 0.1 %
  quantity: 1
  # A cooldown under `risk` would hold back the SELL that leaves, too.
"""
