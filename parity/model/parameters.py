"""What a strategy declares about its parameters, and the check of what it is given.

A factory module exposes ``PARAMETERS: dict[str, Parameter]``; the configuration is checked against
it before anything starts. Percent are fractions, confidences 0..1. Nothing here reads a file.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Context, Decimal
from typing import Any, Final

import msgspec
import numpy as np

from parity.model.errors import ConfigError, did_you_mean

REQUIRED: Final = msgspec.UNSET  # the default of a parameter that has none
KINDS: Final[dict[str, str]] = {
    "int": "an integer",
    "float": "a number",
    "str": "text",
    "bool": "true or false",
    "path": "a file path",
    "any": "a plain value",
}
SHOWN_MAX = 60  # characters of a wrong value in a message
_EXACT: Final = Context(prec=60)  # not the thread's own, which a strategy may have changed


class Parameter(msgspec.Struct, frozen=True):
    """One parameter of a strategy.

    Args:
        kind: "int", "float", "str", "bool", "path" or "any" (checked by the strategy itself).
        default: its value where none is given; REQUIRED where there is none. Only a parameter
            whose default is None may be given as null.
        minimum: smallest allowed number.
        maximum: largest allowed number.
        exclusive_minimum: the number it must be above.
        choices: the only values allowed, where not empty.
        doc: one line for `parity check` and the documentation.
    """

    kind: str
    default: Any = REQUIRED
    minimum: float | None = None
    maximum: float | None = None
    exclusive_minimum: float | None = None
    choices: tuple[Any, ...] = ()
    doc: str = ""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ConfigError(
                f"parameter kind {self.kind!r}", cure=f"expected one of {', '.join(KINDS)}"
            )
        if self.default is not REQUIRED and self.default is not None:
            accepted, _ = self.accept(self.default)
            if not accepted:
                raise ConfigError(f"default {self.default!r} is not {self.expected()}")

    def expected(self) -> str:
        """Return the rule in words: ``an integer ≥ 1``."""
        words = KINDS[self.kind]
        if self.choices:
            return "one of " + ", ".join(str(choice) for choice in self.choices)
        if self.exclusive_minimum is not None:
            words += f" > {self.exclusive_minimum:.15g}"
        if self.minimum is not None:
            words += f" ≥ {self.minimum:.15g}"
        if self.maximum is not None:
            words += f"{' and' if '≥' in words or '>' in words else ''} ≤ {self.maximum:.15g}"
        return words + (" or null" if self.default is None else "")

    def accept(self, value: Any) -> tuple[bool, Any]:
        """Return whether the value is allowed, and the value as the strategy gets it."""
        if value is None:
            return self.default is None or self.kind == "any", None
        typed = self._typed(value)
        if typed is None:
            return False, None
        if self.choices and typed not in self.choices:
            return False, None
        if isinstance(typed, int | float) and not self._in_range(typed):
            return False, None
        return True, typed

    def _typed(self, value: Any) -> Any:
        if self.kind == "any":
            return value
        if self.kind in ("str", "path"):
            return str(value) if isinstance(value, str) and value != "" else None
        if self.kind == "bool" or isinstance(value, bool | np.bool_):
            wanted = self.kind == "bool" and isinstance(value, bool | np.bool_)
            return bool(value) if wanted else None
        if isinstance(value, int | np.integer):
            return int(value) if self.kind == "int" else _finite(float(value))
        if isinstance(value, float | np.floating) and self.kind == "float":
            return _finite(float(value))
        return None

    def _in_range(self, value: float) -> bool:
        return not (
            (self.minimum is not None and value < self.minimum)
            or (self.maximum is not None and value > self.maximum)
            or (self.exclusive_minimum is not None and value <= self.exclusive_minimum)
        )


class Fault(msgspec.Struct, frozen=True):
    """One thing that is wrong with given parameters: the name, what is wrong, and the cure."""

    name: str
    message: str
    cure: str = ""


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def shown(value: Any) -> str:
    """Return a value as an error message shows it: text in double quotes, cut where long."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    text = f'"{value}"' if isinstance(value, str) else str(value)
    return text if len(text) <= SHOWN_MAX else text[: SHOWN_MAX - 1] + "…"


def complete_parameters(
    declared: Mapping[str, Parameter], given: Mapping[str, Any]
) -> tuple[dict[str, Any], list[Fault]]:
    """Return the parameters with defaults filled in, in declared order, and everything wrong."""
    faults = [
        Fault(
            name, "unknown parameter", did_you_mean(name, declared) if declared else "it has none"
        )
        for name in given
        if name not in declared
    ]
    completed: dict[str, Any] = {}
    for name, parameter in declared.items():
        if name in given:
            fine, value = parameter.accept(given[name])
            if fine:
                completed[name] = value
            else:
                faults.append(
                    Fault(name, f"expected {parameter.expected()}, was {shown(given[name])}")
                )
        elif parameter.default is REQUIRED:
            faults.append(
                Fault(name, f"expected {parameter.expected()}, was missing", f"give {name} a value")
            )
        else:
            _, completed[name] = parameter.accept(parameter.default)
    return completed, faults


def check_parameters(declared: Mapping[str, Parameter], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the given parameters completed by the declared defaults.

    Raises:
        ConfigError: naming every parameter that is unknown, missing or out of range.
    """
    completed, faults = complete_parameters(declared, given)
    if not faults:
        return completed
    if len(faults) == 1:
        raise ConfigError(f"parameters.{faults[0].name}: {faults[0].message}", cure=faults[0].cure)
    lines = [
        f"parameters.{f.name}: {f.message}" + (f"; {f.cure}" if f.cure else "") for f in faults
    ]
    raise ConfigError("\n".join(lines))


def is_plain(value: Any) -> bool:
    """Say whether a value is made of None, bool, int, float, str, Decimal, lists and dicts only."""
    if isinstance(value, list | tuple):
        return all(is_plain(item) for item in value)
    if isinstance(value, dict):
        return all(isinstance(key, str) and is_plain(item) for key, item in value.items())
    return value is None or isinstance(value, bool | int | float | str | Decimal)


def in_ns(seconds: float) -> int:
    """Return seconds as whole nanoseconds, by their shortest decimal."""
    return round(Decimal(str(seconds)).scaleb(9, _EXACT))
