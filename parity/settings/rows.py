"""One strategy row as users write it: its keys, their spellings, and every way it can be wrong.

A row is a YAML mapping or a row of the table `strategy_configurations`. Types are strict ("20" is
no integer), and a key that nothing acts on is refused by name, never accepted in silence.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from parity.core.lifecycle import ERRORS
from parity.core.validators.limits import RISK, check_risk
from parity.model.errors import ConfigError, did_you_mean
from parity.model.parameters import Parameter, complete_parameters, shown
from parity.settings.validators import STANDARD, validator_names

if TYPE_CHECKING:
    from parity.settings.document import Node, Place

BROKERS: Final = ("paper", "zerodha")
# Blocks inside `parameters` that the executor reads, never the factory. Their defaults are the
# executor's: a block holds what was written, nothing is filled in.
BLOCKS: Final[dict[str, dict[str, Parameter]]] = {
    "risk": RISK,
    "errors": ERRORS,
    "paper": {
        "cash": Parameter("float", minimum=0, doc="what a paper portfolio starts with"),
        "slippage": Parameter("float", minimum=0, maximum=1, doc="against the side; a fraction"),
        "commission": Parameter("float", minimum=0, maximum=1, doc="of the notional; a fraction"),
        "allow_short": Parameter("bool", doc="sell what is not held"),
        "order_ttl_sec": Parameter("float", minimum=0, doc="age at which a waiting order expires"),
    },
}
_SPELLINGS: Final[dict[str, str]] = {
    "id": "strategy_id",
    "strategy_name": "strategy_id",
    "strategy_class": "strategy_type",
    "is_active": "enabled",
    "instruments": "instrument_tokens",
    "active_brokers": "brokers",
}
_EXPECTED: Final[dict[str, str]] = {
    "strategy_id": "text of 1 to 128 printable characters",
    "strategy_type": "the name of a strategy",
    "enabled": "true or false",
    "instrument_tokens": "a list of instrument tokens (integers ≥ 1), or all",
    "parameters": "a mapping of parameters",
    "brokers": f"a list of {', '.join(BROKERS)}",
    "zerodha_trading_enabled": "true or false",
    "validator": "the name of a validator",
    "use_composition": "true (strategies by inheritance never run)",
    "on": "trades or quotes",
    "max_position_size": "a number ≥ 0 (0 is no limit)",
    "risk_multiplier": "a number > 0",
    "created_at": "text",
    "updated_at": "text",
}

ROW_LIMITS: Final = ("max_position_size", "risk_multiplier")
_DIGITS_MAX: Final = 30


def _decimal(value: Any) -> Decimal:
    # A number, or its text, as a table of decimals writes it; a float at its shortest text.
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        raise ValueError("no number")
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        raise ValueError("no number") from None
    if not number.is_finite() or len(number.as_tuple().digits) > _DIGITS_MAX:
        raise ValueError("no such number")
    if number and abs(number.adjusted()) > _DIGITS_MAX:
        raise ValueError("no such number")
    return number


_Decimal = Annotated[Decimal, BeforeValidator(_decimal)]
_Token = Annotated[int, Field(ge=1, lt=2**63)]


class Row(BaseModel):
    """A row with its spellings unified; `parameters` are checked against their strategy later."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    strategy_id: Annotated[str, Field(min_length=1, max_length=128)]
    strategy_type: Annotated[str, Field(min_length=1)]
    enabled: bool = True
    instrument_tokens: Annotated[list[_Token], Field(min_length=1)] | Literal["all"]
    parameters: dict[str, Any] = {}
    brokers: Annotated[list[Literal["paper", "zerodha"]], Field(min_length=1)] | None = None
    zerodha_trading_enabled: bool | None = None
    validator: Annotated[str, Field(min_length=1)] = STANDARD
    use_composition: Literal[True] = True
    max_position_size: Annotated[_Decimal, Field(ge=0)] = Decimal(0)
    risk_multiplier: Annotated[_Decimal, Field(gt=0)] = Decimal(1)
    on: Literal["trades", "quotes"] | None = None  # as the strategy says, else trades
    created_at: str | None = None  # columns of the table that say nothing about the strategy
    updated_at: str | None = None

    def active_brokers(self) -> tuple[str, ...]:
        """Return the brokers: what the row lists, else zerodha where it is enabled, else paper."""
        if self.brokers is not None:
            return tuple(self.brokers)
        return ("zerodha",) if self.zerodha_trading_enabled else ("paper",)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a configuration: where, which key, what, and the cure."""

    place: Place
    key: str
    message: str
    cure: str = ""

    def __str__(self) -> str:
        key = f"{self.key}: " if self.key else ""
        line = f":{self.place.line}" if self.place.line else ""  # a flag has no lines
        return f"{self.place.file}{line}: {key}{self.message}"


def raise_problems(problems: Iterable[Problem]) -> None:
    """Raise one ConfigError that names every problem; nothing happens where there is none."""
    found = list(problems)
    if len(found) == 1:
        raise ConfigError(str(found[0]), cure=found[0].cure)
    if found:
        raise ConfigError("\n".join(f"{p}; {p.cure}" if p.cure else str(p) for p in found))


def _none(strategy_type: Any) -> Collection[str]:
    return ()


@dataclass(slots=True)
class RowReader:
    """Reads one row and keeps what is wrong with it.

    Args:
        default_id: its id where it gives none.
        declares: the parameters of a strategy_type, which are never the row's.
    """

    node: Node
    default_id: str | None = None
    declares: Callable[[Any], Collection[str]] = _none
    problems: list[Problem] = field(default_factory=list)

    def read(self) -> Row | None:
        """Return the row, or None where `problems` says why not."""
        if not isinstance(self.node.value, dict):
            self._add((), "", f"expected a strategy (a mapping), was {shown(self.node.plain())}")
            return None
        given, spelled = self._unify(self.node.value)
        if self.default_id is not None:
            given.setdefault("strategy_id", self.default_id)
        own = self.declares(given.get("strategy_type"))
        for name in ("validator", "enabled", *ROW_LIMITS):
            if name == "validator" or name not in own:
                self._lift(name, given, spelled)
        try:
            row = Row.model_validate(given)
        except ValidationError as error:
            self._explain(error, given, spelled)
            return None
        self._check_values(row, spelled)
        return None if self.problems else row

    def _add(self, path: tuple[str | int, ...], key: str, message: str, cure: str = "") -> None:
        self.problems.append(Problem(self.node.where(path), key, message, cure))

    def _unify(self, written: Mapping[str, Node]) -> tuple[dict[str, Any], dict[str, str]]:
        given: dict[str, Any] = {}
        spelled: dict[str, str] = {}
        known = {*Row.model_fields, *_SPELLINGS}
        for key, value in written.items():
            name = _SPELLINGS.get(key, key)
            if key not in known:
                inside = "write it inside `parameters`" if key in BLOCKS else ""
                self._add((key,), key, "unknown key", inside or did_you_mean(key, known))
            elif name in given:
                self._add((key,), key, f"means the same as {spelled[name]}", "keep one of them")
            else:
                given[name], spelled[name] = value.plain(), key
        return given, spelled

    def _lift(self, name: str, given: dict[str, Any], spelled: dict[str, str]) -> None:
        # Some keys stand beside `parameters` in one of the seeds' examples, inside in another.
        inner = given.get("parameters")
        if not isinstance(inner, dict) or name not in inner:
            return
        if name in given and given[name] != inner[name]:
            self._add(
                ("parameters", name), f"parameters.{name}",
                f"{shown(inner[name])}, but {spelled[name]} is {shown(given[name])}",
                "keep one of them",
            )  # fmt: skip
        given[name] = inner.pop(name)
        spelled.setdefault(name, f"parameters.{name}")

    def _explain(
        self, error: ValidationError, given: Mapping[str, Any], spelled: Mapping[str, str]
    ) -> None:
        seen: set[str] = set()
        for detail in error.errors(include_url=False):
            name = str(detail["loc"][0])
            if name in seen:  # a union reports each of its members
                continue
            seen.add(name)
            key = spelled.get(name, name)
            items = [step for step in detail["loc"][1:] if isinstance(step, int)]
            was = shown(given[name]) if name in given else "missing"
            cure = ""
            if name == "instrument_tokens" and not given.get(name):
                cure = "write `instruments: [TOKEN, …]`, or `instruments: all`"
                key = spelled.get(name, "instruments")
            path: tuple[str | int, ...] = (*key.split("."), *items[:1])
            self._add(path, key, f"expected {_EXPECTED[name]}, was {was}", cure)

    def _check_values(self, row: Row, spelled: Mapping[str, str]) -> None:
        if not row.strategy_id.isprintable():
            key = spelled.get("strategy_id", "strategy_id")
            self._add((key,), key, f"expected {_EXPECTED['strategy_id']}, was {row.strategy_id!r}")
        if row.validator != STANDARD and row.validator not in (names := validator_names()):
            key = spelled["validator"]
            message = f"expected one of {', '.join(names)}, was {shown(row.validator)}"
            self._add(tuple(key.split(".")), key, message, did_you_mean(row.validator, names))
        for name in ("instrument_tokens", "brokers"):
            listed = getattr(row, name)
            key = spelled.get(name, name)
            if isinstance(listed, list) and len(set(listed)) < len(listed):
                twice = next(v for n, v in enumerate(listed) if v in listed[:n])
                self._add((key,), key, f"{twice} stands twice", "keep one")
        trading, brokers = row.zerodha_trading_enabled, row.brokers
        if trading is not None and brokers is not None:
            agreed = brokers == ["zerodha"] if trading else "zerodha" not in brokers
            if not agreed:
                self._add(
                    ("zerodha_trading_enabled",), "zerodha_trading_enabled",
                    f"{shown(trading)}, but {spelled['brokers']} is {', '.join(brokers)}",
                    "a row with it goes to zerodha only; keep one of the two keys",
                )  # fmt: skip


def row_limit(name: str, value: Any) -> Decimal:
    """Return one of ROW_LIMITS, checked as in a row; raises ConfigError."""
    try:
        number = _decimal(value)
    except ValueError:
        number = Decimal(-1)
    if number < 0 or (name == "risk_multiplier" and number == 0):
        raise ConfigError(f"{name}: expected {_EXPECTED[name]}, was {shown(value)}")
    return number


def check_block(name: str, given: Any) -> tuple[dict[str, Any], list[tuple[str, str, str]]]:
    """Return an executor's block, typed, and what is wrong with it as (key, message, cure)."""
    if not isinstance(given, Mapping):
        return {}, [(name, f"expected a mapping, was {shown(given)}", "")]
    if name == "risk":
        checked, faults = check_risk(given)
        return checked, [(f"{name}.{f.name}", f.message, f.cure) for f in faults]
    known = BLOCKS[name]
    declared = {key: one for key, one in known.items() if key in given}
    checked, faults = complete_parameters(declared, given)
    wrong = [
        (f"{name}.{f.name}", f.message, f.cure if f.name in known else did_you_mean(f.name, known))
        for f in faults
    ]
    return checked, wrong
