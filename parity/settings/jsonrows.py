"""JSON as the same plain data with lines as YAML: exported `strategy_configurations` rows.

The standard reader forgets where a value stood and lets the last of two equal keys win; this one
keeps lines, refuses duplicates and NaN, and keeps the limits of `parity.settings.document`.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from parity.settings.document import (
    DEPTH_MAX,
    DIGITS_MAX,
    NODES_MAX,
    Node,
    Place,
    read_text,
)

if TYPE_CHECKING:
    from pathlib import Path

SIZE_BYTES_MAX: Final = 16_000_000  # a table of ten thousand rows fits
_DECODER: Final = json.JSONDecoder()
_SPACE = re.compile(r"[ \t\r\n]*")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_WORDS: Final[dict[str, Any]] = {"true": True, "false": False, "null": None}


def load_json(path: Path) -> Node:
    """Read a JSON file; raises ConfigError with file, line and column."""
    return parse_json(read_text(path, SIZE_BYTES_MAX), str(path))


def parse_json(text: str, file: str) -> Node:
    """Read JSON text; `file` is the name that errors give."""
    reader = _Reader(text, file)
    node, at = reader.value(reader.skip(0), 1)
    if at != len(text):
        reader.place(at).refuse("text behind the end of the JSON value", "keep one value a file")
    return node


class _Reader:
    """Recursive descent over the text; every value comes back with the position behind it."""

    def __init__(self, text: str, file: str) -> None:
        self._text = text
        self._file = file
        self._nodes = 0
        self._line, self._line_start = 1, 0

    def place(self, at: int) -> Place:
        # Called with rising positions, so the lines are counted once over the whole text.
        if at < self._line_start:
            self._line, self._line_start = 1, 0
        self._line += self._text.count("\n", self._line_start, at)
        self._line_start = self._text.rfind("\n", 0, at) + 1
        return Place(self._file, self._line, at - self._line_start + 1)

    def skip(self, at: int) -> int:
        match = _SPACE.match(self._text, at)
        return match.end() if match else at

    def value(self, at: int, depth: int) -> tuple[Node, int]:
        place = self.place(at)
        self._nodes += 1
        if self._nodes > NODES_MAX:
            place.refuse(f"more than {NODES_MAX} values", "split the file")
        if depth > DEPTH_MAX:
            place.refuse(f"nested deeper than {DEPTH_MAX}", "flatten it")
        first = self._text[at : at + 1]
        if first == "{":
            return self._object(at, place, depth)
        if first == "[":
            return self._array(at, place, depth)
        scalar, end = self._string(at) if first == '"' else self._literal(at, place)
        return Node(place, scalar), self.skip(end)

    def _string(self, at: int) -> tuple[str, int]:
        try:
            text, end = _DECODER.raw_decode(self._text, at)
            return str(text), end
        except json.JSONDecodeError as error:
            self.place(error.pos).refuse(f"not valid JSON: {error.msg}", "mend the text")

    def _literal(self, at: int, place: Place) -> tuple[Any, int]:
        for word, value in _WORDS.items():
            if self._text.startswith(word, at):
                return value, at + len(word)
        match = _NUMBER.match(self._text, at)
        if match is None:
            found = self._text[at : at + 12].split("\n")[0] or "the end of the file"
            place.refuse(f"not valid JSON: expected a value, was {found}", "mend the text")
        digits = match.group()
        if len(digits) > DIGITS_MAX:
            place.refuse(f"number of {len(digits)} characters", f"keep it under {DIGITS_MAX}")
        real = match.group(1) or match.group(2)
        return float(digits) if real else int(digits), match.end()

    def _object(self, at: int, place: Place, depth: int) -> tuple[Node, int]:
        found: dict[str, Node] = {}
        keys: dict[str, Place] = {}
        at = self.skip(at + 1)
        while self._text[at : at + 1] != "}":
            if found:
                at = self._expect(",", at, "after a value")
            key_place = self.place(at)
            if self._text[at : at + 1] != '"':
                key_place.refuse("not valid JSON: expected a key in double quotes", "mend the text")
            key, end = self._string(at)
            if key in keys:
                key_place.refuse(
                    f"key {key!r} stands twice, first in line {keys[key].line}", "keep one of them"
                )
            keys[key] = key_place
            found[key], at = self.value(self._expect(":", self.skip(end), "after a key"), depth + 1)
        return Node(place, found, 1, keys), self.skip(at + 1)

    def _array(self, at: int, place: Place, depth: int) -> tuple[Node, int]:
        items: list[Node] = []
        at = self.skip(at + 1)
        while self._text[at : at + 1] != "]":
            if items:
                at = self._expect(",", at, "after a value")
            item, at = self.value(at, depth + 1)
            items.append(item)
        return Node(place, items), self.skip(at + 1)

    def _expect(self, sign: str, at: int, where: str) -> int:
        if self._text[at : at + 1] != sign:
            self.place(at).refuse(f"not valid JSON: expected {sign!r} {where}", "mend the text")
        return self.skip(at + 1)
