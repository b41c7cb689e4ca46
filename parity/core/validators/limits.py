"""What a strategy's configuration asks of its validators: every key of the block `risk`, typed.

A key that is not written does not limit. Never here: judging a candidate.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import msgspec

from parity.model.errors import ConfigError, did_you_mean
from parity.model.parameters import Fault, Parameter, complete_parameters, in_ns, shown
from parity.model.sessions import CLOSING, PREOPEN, REGULAR

if TYPE_CHECKING:
    from parity.model.values import StrategyConfig

QUANTITY_MAX: Final = Decimal(10**9)
AUCTION: Final = "auction"  # not a phase of a table: the venue says so with the tick
TRADED: Final = (REGULAR, PREOPEN, CLOSING, AUCTION)
RISK_MODES: Final = ("DEFENSIVE", "NORMAL", "AGGRESSIVE")
_NS: Final = 1_000_000_000
_YEAR_SEC: Final = 366 * 86_400
ZERO: Final = Decimal(0)
ONE: Final = Decimal(1)


def _seconds(doc: str) -> Parameter:
    return Parameter("float", minimum=0, maximum=_YEAR_SEC, doc=doc)


RISK: Final[dict[str, Parameter]] = {
    "min_confidence": Parameter("float", minimum=0, maximum=1, doc="signals less sure are dropped"),
    "phases": Parameter("any", doc="phases of the session in which it may trade; regular"),
    "risk_modes": Parameter("any", doc="risk modes in which the strategy may trade"),
    "max_quantity": Parameter("float", exclusive_minimum=0, doc="larger signals are dropped"),
    "position_guard_sec": _seconds("seconds before a position may turn to the other side"),
    "cooldown_sec": _seconds("seconds of silence per instrument after a signal"),
    "cooldown_opens_only": Parameter("bool", doc="the cooldown lets pass what reduces a position"),
    "price_band": Parameter(
        "float", exclusive_minimum=0, doc="largest move inside a bar, a fraction of its open"
    ),
    "price_band_bar_sec": Parameter(
        "float", minimum=0.001, maximum=86_400, doc="length of that bar; 60 by default"
    ),
    "slippage_budget": Parameter(
        "float", minimum=0, doc="largest distance of the signal's price from the last price"
    ),
    "max_exposure": Parameter(
        "float", exclusive_minimum=0, doc="largest |sum of quantity × price|"
    ),
    "max_concurrent_signals": Parameter(
        "int", minimum=1, doc="instruments with a position or a pending order at once"
    ),
    "loss_streak_max": Parameter(
        "int", minimum=1, doc="losing trades in a row, per instrument, that stop new ones"
    ),
    "loss_streak_pause_sec": _seconds("seconds after which trading begins again; else at a win"),
    "duplicate_sec": _seconds("seconds in which a signal with an equal suppression key is dropped"),
    "duplicate_price_step": Parameter(
        "float", exclusive_minimum=0, doc="prices within one step are one; exact by default"
    ),
    "max_signals_per_minute": Parameter("int", minimum=1, maximum=100_000, doc="in any 60 seconds"),
    "min_signal_interval_ms": Parameter(
        "float", minimum=0, maximum=_YEAR_SEC * 1000, doc="between two signals of the strategy"
    ),
    "max_signals_per_day": Parameter("int", minimum=1, doc="in one UTC day"),
}
# Other spellings, from the seeds' schemas.
RISK_SPELLINGS: Final = {"max_signals_per_min": "max_signals_per_minute"}
# A key that means nothing without another one.
_RESTS_ON: Final = {
    "cooldown_opens_only": "cooldown_sec",
    "price_band_bar_sec": "price_band",
    "loss_streak_pause_sec": "loss_streak_max",
    "duplicate_price_step": "duplicate_sec",
}


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What a strategy's configuration says about its validators; defaults do not limit."""

    sessions: bool = False  # whether an instrument has a calendar; the gate knows
    phases: tuple[str, ...] = (REGULAR,)
    min_confidence: float = 0.0
    risk_modes: tuple[str, ...] = ()
    quantity_max: Decimal | None = None
    position_max: Decimal = ZERO  # 0: none
    multiplier: Decimal = ONE
    position_guard_ns: int = 0
    cooldown_ns: int = 0
    cooldown_opens_only: bool = False
    price_band: Decimal | None = None
    bar_ns: int = 60 * _NS
    slippage_budget: Decimal | None = None
    exposure_max: Decimal | None = None
    concurrent_max: int = 0
    loss_streak_max: int = 0
    loss_pause_ns: int = 0
    duplicate_ns: int = 0
    duplicate_price_step: Decimal = ZERO
    signals_per_minute_max: int = 0
    signal_interval_ns: int = 0
    signals_per_day_max: int = 0

    @classmethod
    def of(cls, config: StrategyConfig) -> Limits:
        """Read a configuration: `max_position_size`, `risk_multiplier`, `parameters.risk`.

        Raises:
            ConfigError: naming the first key that is wrong.
        """
        risk, faults = check_risk(config.parameters.get("risk") or {})
        if faults:
            raise ConfigError(f"risk.{faults[0].name}: {faults[0].message}", cure=faults[0].cure)
        if config.risk_multiplier <= 0 or config.max_position_size < 0:
            name = "risk_multiplier" if config.risk_multiplier <= 0 else "max_position_size"
            least = "a number > 0" if name == "risk_multiplier" else "a number ≥ 0"
            raise ConfigError(f"{name}: expected {least}, was {getattr(config, name)}")
        return cls(
            min_confidence=risk.get("min_confidence", 0.0),
            phases=tuple(risk.get("phases", (REGULAR,))),
            risk_modes=tuple(risk.get("risk_modes", ())),
            quantity_max=_exact(risk, "max_quantity"),
            position_max=config.max_position_size,
            multiplier=config.risk_multiplier,
            position_guard_ns=_ns(risk, "position_guard_sec"),
            cooldown_ns=_ns(risk, "cooldown_sec"),
            cooldown_opens_only=risk.get("cooldown_opens_only", False),
            price_band=_exact(risk, "price_band"),
            bar_ns=_ns(risk, "price_band_bar_sec") or 60 * _NS,
            slippage_budget=_exact(risk, "slippage_budget"),
            exposure_max=_exact(risk, "max_exposure"),
            concurrent_max=risk.get("max_concurrent_signals", 0),
            loss_streak_max=risk.get("loss_streak_max", 0),
            loss_pause_ns=_ns(risk, "loss_streak_pause_sec"),
            duplicate_ns=_ns(risk, "duplicate_sec"),
            duplicate_price_step=_exact(risk, "duplicate_price_step") or ZERO,
            signals_per_minute_max=risk.get("max_signals_per_minute", 0),
            signal_interval_ns=round(risk.get("min_signal_interval_ms", 0) * 1_000_000),
            signals_per_day_max=risk.get("max_signals_per_day", 0),
        )


def check_risk(given: Mapping[str, Any]) -> tuple[dict[str, Any], list[Fault]]:
    """Return the block `risk` with its keys unified and typed, and everything wrong with it."""
    unified: dict[str, Any] = {}
    spelled: dict[str, str] = {}
    faults: list[Fault] = []
    for key, value in given.items():
        name = RISK_SPELLINGS.get(key, key)
        if name in unified:
            words = f"means the same as {spelled[name]}"
            faults.append(Fault(key, words, "keep one of them"))
        unified[name], spelled[name] = value, key
    declared = {name: one for name, one in RISK.items() if name in unified}
    checked, wrong = complete_parameters(declared, unified)
    for fault in wrong:
        cure = fault.cure if fault.name in RISK else did_you_mean(fault.name, RISK)
        faults.append(Fault(spelled[fault.name], fault.message, cure))
    modes = checked.get("risk_modes", ())
    known = isinstance(modes, list | tuple) and all(mode in RISK_MODES for mode in modes)
    if "risk_modes" in checked and not (known and modes):
        words = f"expected a list of {', '.join(RISK_MODES)}, was {shown(modes)}"
        faults.append(Fault("risk_modes", words))
    phases = checked.get("phases", ())
    fine = isinstance(phases, list | tuple) and all(one in TRADED for one in phases)
    if "phases" in checked and not (fine and phases):
        faults.append(
            Fault("phases", f"expected a list of {', '.join(TRADED)}, was {shown(phases)}")
        )
    for name, base in _RESTS_ON.items():
        if name in unified and base not in unified:
            faults.append(Fault(name, f"means nothing without {base}", f"set risk.{base} too"))
    return checked, faults


def _ns(risk: Mapping[str, Any], name: str) -> int:
    return in_ns(risk.get(name, 0))


def _exact(risk: Mapping[str, Any], name: str) -> Decimal | None:
    value = risk.get(name)
    return None if value is None else Decimal(str(value))  # the shortest text of the float
