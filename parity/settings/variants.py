"""`--set` with several values: one set of overrides for every combination of them.

Never here: what a value means; each combination is read as a `--set` of one value each.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from parity.model.errors import ConfigError
from parity.model.parameters import shown

VARIANTS_MAX: Final = 1_000
_CLOSING: Final = {"[": "]", "{": "}", "(": ")"}


class Variant(NamedTuple):
    """One combination.

    Args:
        values: what differs between variants, by the name that was set.
        overrides: all of `--set`, each with one value.
    """

    values: dict[str, str]
    overrides: list[str]

    @property
    def label(self) -> str:
        """How a person tells it from the others."""
        return ", ".join(f"{name}={value}" for name, value in self.values.items())


def variants_of(overrides: Sequence[str]) -> list[Variant]:
    """Return every combination of the values, the last parameter changing fastest.

    Values are apart by commas; a comma inside brackets or quotes is part of a value. Without
    several values there is one variant, with nothing that differs.

    Raises:
        ConfigError: a value stands twice, or they are too many.

    >>> [v.label for v in variants_of(["a=1,2", "b=[3,4]", "x.c=5,6"])]
    ['a=1, x.c=5', 'a=1, x.c=6', 'a=2, x.c=5', 'a=2, x.c=6']
    """
    choices: list[list[tuple[str, str, bool]]] = []
    count = 1
    for text in overrides:
        name, equals, value = text.partition("=")
        parts = split_values(value)
        several = len(parts) > 1
        for part in parts:
            if several and not part:
                raise ConfigError(f"--set {text}: an empty value", cure="write name=1,2,3")
            if parts.count(part) > 1:
                raise ConfigError(f"--set {text}: {part} stands twice", cure="name it once")
        count *= len(parts)
        if count > VARIANTS_MAX:
            raise ConfigError(
                f"--set {text[:60]}: makes {count} variants, at most {VARIANTS_MAX} in a sweep",
                cure="name fewer values, or sweep one parameter after the other",
            )
        plain = [unquoted(part) for part in parts] if several else [value]
        choices.append([(name.strip(), f"{name}{equals}{part}", several) for part in plain])
    found = []
    for chosen in itertools.product(*choices):
        values = {n: text.partition("=")[2] for n, text, several in chosen if several}
        found.append(Variant(values, [text for _, text, _ in chosen]))
    return found


def of_mapping(parameters: Mapping[str, Sequence[Any]]) -> list[str]:
    """Return `--set` texts of values as Python has them; for variants_of().

    >>> of_mapping({"threshold": [0.01, 0.02], "names": [["a", "b"], None]})
    ['threshold=0.01,0.02', 'names=["a", "b"],null']
    """
    made = []
    for name, given in parameters.items():
        values = given.tolist() if hasattr(given, "tolist") else given  # an array of numpy
        if isinstance(values, str) or not isinstance(values, Sequence) or not values:
            raise ConfigError(
                f"sweep: {name}: expected a list of values, was {shown(values)}",
                cure=f'write {{"{name}": [1, 2]}}',
            )
        made.append(f"{name}={','.join(_text(value) for value in values)}")
    return made


def _text(value: Any) -> str:
    if isinstance(value, str):
        return f'"{value}"' if "," in value else value
    if value is None or isinstance(value, bool | list | tuple | dict):
        return json.dumps(value)
    return str(value)


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
