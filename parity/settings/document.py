"""A parsed configuration file: plain values that know the line they came from.

Only data: None, bool, int, float, str, lists and dicts with text keys. The readers are
`parity.settings.yaml` and `parity.settings.jsonrows`; both build this tree and keep its limits.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NoReturn

from parity.model.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

DEPTH_MAX: Final = 32
NODES_MAX: Final = 200_000
DIGITS_MAX: Final = 40  # a longer number is no price, no token and no count

_INT = re.compile(r"[-+]?(0|[1-9][0-9]*)\Z")
_BASED = re.compile(r"0x[0-9a-fA-F]+\Z|0o[0-7]+\Z")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")
_SPECIAL: Final = {".inf": "inf", "+.inf": "inf", "-.inf": "-inf", ".nan": "nan"}
_WORDS: Final[dict[str, Any]] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True,
    "false": False, "False": False, "FALSE": False,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Place:
    """A position in a file, counted from 1."""

    file: str
    line: int
    column: int = 1

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"

    def refuse(self, message: str, cure: str = "") -> NoReturn:
        """Raise ConfigError about this place."""
        raise ConfigError(f"{self}: {message}", cure=cure)


@dataclass(slots=True)
class Node:
    """One value of a document: a scalar, a list of nodes, or a dict of nodes.

    Args:
        place: where the value begins.
        value: the scalar, `list[Node]` or `dict[str, Node]`.
        size: nodes in it when every alias is written out; what bounds an alias bomb.
        keys: where each key of a mapping stands.
    """

    place: Place
    value: Any
    size: int = 1
    keys: dict[str, Place] | None = None

    def plain(self) -> Any:
        """Return the value as fresh plain data; no two places share a list or dict."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value

    def where(self, path: Sequence[str | int]) -> Place:
        """Return the place of the value at a path, or of its nearest parent that exists."""
        node, place = self, self.place
        for step in path:
            inner = node.value
            if isinstance(inner, dict) and step in inner:
                # the key's line: a value on the next line is still looked for at its key
                place = (node.keys or {}).get(str(step), inner[str(step)].place)
                node = inner[str(step)]
            elif isinstance(inner, list) and isinstance(step, int) and 0 <= step < len(inner):
                node = inner[step]
                place = node.place
            else:
                break
        return place


def node_of(value: Any, place: Place, depth: int = 1) -> Node:
    """Return plain values that come from no file as nodes, all at one place."""
    if depth > DEPTH_MAX:
        place.refuse(f"nested deeper than {DEPTH_MAX}", "flatten it")
    if isinstance(value, Mapping):
        strange = [key for key in value if not isinstance(key, str)]
        if strange:
            place.refuse(f"key {strange[0]!r} is not text", "write keys as text")
        return Node(place, {k: node_of(v, place, depth + 1) for k, v in value.items()})
    if isinstance(value, list | tuple):
        return Node(place, [node_of(item, place, depth + 1) for item in value])
    return Node(place, value)


def read_text(path: Path, size_bytes_max: int) -> str:
    """Return a file's text; refuses one that is absent, too large or not UTF-8."""
    try:
        with path.open("rb") as file:
            data = file.read(size_bytes_max + 1)
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read ({error.strerror})", cure="check the path and its permissions"
        ) from None
    if len(data) > size_bytes_max:
        raise ConfigError(
            f"{path}: larger than {size_bytes_max} bytes", cure="split it into several files"
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            f"{path}:{line}: byte 0x{data[error.start]:02x} is not UTF-8", cure="save it as UTF-8"
        ) from None


def plain_scalar(text: str, place: Place) -> Any:
    """Return what an unquoted scalar means (YAML 1.2 core; timestamps, yes and on stay text)."""
    if text in _WORDS:
        return _WORDS[text]
    if not text[0].isdigit() and text[0] not in "+-.":
        return text
    if text.lower() in _SPECIAL:
        return float(_SPECIAL[text.lower()])
    if len(text) > DIGITS_MAX and (_FLOAT.match(text) or _BASED.match(text)):
        place.refuse(
            f"number of {len(text)} characters", f"keep it under {DIGITS_MAX}, or quote it"
        )
    if _INT.match(text):
        return int(text)
    if _BASED.match(text):
        return int(text, 0)
    if _FLOAT.match(text):
        if text.lstrip("+-").isdigit():  # 010 is 8 in YAML 1.1 and 10 in 1.2: neither is guessed
            place.refuse(f"number with a leading zero, {text}", f'write {int(text)} or "{text}"')
        return float(text)
    return text
