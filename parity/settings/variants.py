"""A sweep's variants: one set of overrides for every combination of values.

Never here: what a value means; each combination is read as a `--set` of one value each, and a value
of Python stays what it is.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any, Final, NamedTuple

import numpy as np

from parity.model.errors import ConfigError
from parity.model.parameters import shown
from parity.settings.overrides import Given, Override

VARIANTS_MAX: Final = 1_000
_CLOSING: Final = {"[": "]", "{": "}", "(": ")"}


class Variant(NamedTuple):
    """One combination.

    Args:
        values: what differs between variants, by the name that was set: text of the command line,
            or a value of Python.
        overrides: all that is set, each with one value.
    """

    values: dict[str, Any]
    overrides: list[Override]

    @property
    def label(self) -> str:
        """How a person tells it from the others."""
        return ", ".join(f"{name}={value}" for name, value in self.values.items())


class _Choice(NamedTuple):
    """The values of one parameter, each with how it is set."""

    said: str  # what an error begins with
    name: str
    values: list[tuple[Any, Override]]
    labelled: bool


def variants_of(overrides: Sequence[str]) -> list[Variant]:
    """Return every combination of the values, the last parameter changing fastest.

    Values are apart by commas; a comma inside brackets or quotes is part of a value. Without
    several values there is one variant, with nothing that differs.

    Raises:
        ConfigError: a value stands twice, or they are too many.

    >>> [v.label for v in variants_of(["a=1,2", "b=[3,4]", "x.c=5,6"])]
    ['a=1, x.c=5', 'a=1, x.c=6', 'a=2, x.c=5', 'a=2, x.c=6']
    """
    choices = []
    for text in overrides:
        name, equals, value = text.partition("=")
        parts = split_values(value)
        several, said = len(parts) > 1, f"--set {text[:60]}"
        _refuse_many(said, len(parts))
        if several and "" in parts:
            raise ConfigError(f"{said}: an empty value", cure="write name=1,2,3")
        _refuse_twice(said, parts)
        plain = [unquoted(part) for part in parts] if several else [value]
        values: list[tuple[Any, Override]] = [(part, f"{name}{equals}{part}") for part in plain]
        choices.append(_Choice(said, name.strip(), values, several))
    return _product(choices)


def of_mapping(parameters: Mapping[str, Sequence[Any]]) -> list[Variant]:
    """Return every combination of values as Python has them; each keeps its type.

    Raises:
        ConfigError: no list of values, a value that stands twice, or too many combinations.

    >>> [v.values for v in of_mapping({"threshold": [0.01, 0.02], "name": ["it's"]})]
    [{'threshold': 0.01, 'name': "it's"}, {'threshold': 0.02, 'name': "it's"}]
    """
    choices = []
    for name, given in parameters.items():
        if not isinstance(name, str):
            raise ConfigError(f"sweep: expected a parameter's name, was {shown(name)}")
        values = given.tolist() if hasattr(given, "tolist") else given  # an array of numpy
        if isinstance(values, str) or not isinstance(values, Sequence) or not values:
            raise ConfigError(
                f"sweep: {name}: expected a list of values, was {shown(values)}",
                cure=f'write {{"{name}": [1, 2]}}',
            )
        said = f"sweep: {name}"
        _refuse_many(said, len(values))
        plain = [_plain(one) for one in values]
        _refuse_twice(said, [repr(one) for one in plain])
        choices.append(_Choice(said, name, [(one, Given(name, one)) for one in plain], True))
    return _product(choices)


def _plain(value: Any) -> Any:
    """Return numbers and arrays of numpy as Python's, and paths as the text a row would have."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if type(value) is tuple:
        return tuple(_plain(one) for one in value)
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    return str(value) if isinstance(value, PurePath) else value


def _refuse_twice(said: str, values: Sequence[str]) -> None:
    seen = set()
    for value in values:
        if value in seen:
            raise ConfigError(f"{said}: {value} stands twice", cure="name it once")
        seen.add(value)


def _refuse_many(said: str, count: int) -> None:
    if count > VARIANTS_MAX:
        raise ConfigError(
            f"{said}: makes {count} variants, at most {VARIANTS_MAX} in a sweep",
            cure="name fewer values, or sweep one parameter after the other",
        )


def _product(choices: Sequence[_Choice]) -> list[Variant]:
    count = 1
    for choice in choices:
        count *= len(choice.values)
        _refuse_many(choice.said, count)
    found = []
    for chosen in itertools.product(*(choice.values for choice in choices)):
        pairs = zip(choices, chosen, strict=True)
        values = {choice.name: value for choice, (value, _) in pairs if choice.labelled}
        found.append(Variant(values, [override for _, override in chosen]))
    return found


def split_values(text: str) -> list[str]:
    """Return what stands between commas, brackets and quotes left whole.

    >>> split_values("1, 2"), split_values("[1,2],[3]"), split_values("'a,b',c")
    (['1', '2'], ['[1,2]', '[3]'], ["'a,b'", 'c'])
    """
    parts, start = [], 0
    closing: list[str] = []
    for at, sign in enumerate(text):
        if closing and sign == closing[-1]:
            closing.pop()
        elif closing and closing[-1] in "'\"":
            continue
        elif sign in _CLOSING:
            closing.append(_CLOSING[sign])
        elif sign in "'\"":
            closing.append(sign)
        elif sign == "," and not closing:
            parts.append(text[start:at].strip())
            start = at + 1
    return [*parts, text[start:].strip()]


def unquoted(text: str) -> str:
    """Return a value without the quotes that kept its commas together."""
    quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "'\""
    return text[1:-1] if quoted and "," in text else text
