"""YAML as plain data, with limits: what a configuration may cost is known before it is read.

PyYAML only cuts the text into parse events; values are built here, so no tag can construct
anything, `on:` and `no` stay text, and an alias bomb is refused while it is being read: every
alias counts, and so does every node it stands for. Never use yaml.load elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import yaml

from parity.model.errors import ConfigError
from parity.settings.document import DEPTH_MAX, NODES_MAX, Node, Place, plain_scalar, read_text

if TYPE_CHECKING:
    from pathlib import Path

SIZE_BYTES_MAX: Final = 1_000_000
ALIASES_MAX: Final = 16
EXPANDED_NODES_MAX: Final = 10_000  # nodes that aliases and merges may add
_TAG: Final = "tag:yaml.org,2002:"
_KINDS: Final[dict[str, tuple[type, ...]]] = {
    "int": (int,), "float": (float, int), "bool": (bool,), "null": (type(None),),
}  # fmt: skip
# libyaml's scanner where PyYAML was built with it: about ten times faster, the same events.
_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def load_yaml(path: Path) -> Node:
    """Read a YAML file of one document; raises ConfigError with file, line and column."""
    return parse_yaml(read_text(path, SIZE_BYTES_MAX), str(path))


def parse_yaml(text: str, file: str) -> Node:
    """Read YAML text; `file` is the name that errors give."""
    if len(text.encode()) > SIZE_BYTES_MAX:
        raise ConfigError(f"{file}: larger than {SIZE_BYTES_MAX} bytes", cure="split the file")
    strange = yaml.reader.Reader.NON_PRINTABLE.search(text)
    if strange:
        at = strange.start()
        Place(file, text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at)).refuse(
            f"character U+{ord(strange.group()):04X} is not allowed in YAML", "remove it"
        )
    try:
        return _Builder(file).build(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        said = ", ".join(str(p) for p in (error.context, error.problem) if p)
        Place(file, line, column).refuse(
            f"not valid YAML: {said}", "mend the line, or quote the text"
        )


class _Builder:
    """Builds the nodes of one document from parse events and counts what they cost."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._anchors: dict[str, Node] = {}
        self._open_anchors: set[str] = set()
        self._aliases = 0
        self._nodes = 0
        self._expanded = 0

    def build(self, text: str) -> Node:
        root: Node | None = None
        events = iter(yaml.parse(text, Loader=_LOADER))
        for event in events:
            if isinstance(event, yaml.NodeEvent):
                if root is not None:
                    self._place(event).refuse(
                        "a second document in one file",
                        "keep one; write several strategies as a list",
                    )
                root = self._node(event, events, 1)
        return root if root is not None else Node(Place(self._file, 1), None)

    def _place(self, event: Any) -> Place:
        return Place(self._file, event.start_mark.line + 1, event.start_mark.column + 1)

    def _node(self, event: Any, events: Any, depth: int) -> Node:
        place = self._place(event)
        self._nodes += 1
        if self._nodes > NODES_MAX:
            place.refuse(f"more than {NODES_MAX} values", "split the file")
        if depth > DEPTH_MAX:
            place.refuse(f"nested deeper than {DEPTH_MAX}", "flatten it")
        if isinstance(event, yaml.AliasEvent):
            return self._alias(str(event.anchor), place)
        anchor = event.anchor
        if anchor is not None:
            self._open_anchors.add(anchor)
        if isinstance(event, yaml.ScalarEvent):
            node = Node(place, self._scalar(event, place))
        elif isinstance(event, yaml.SequenceStartEvent):
            self._check_tag(event, "seq", place)
            node = self._sequence(events, place, depth)
        else:
            self._check_tag(event, "map", place)
            node = self._mapping(events, place, depth)
        if anchor is not None:
            self._open_anchors.discard(anchor)
            self._anchors[anchor] = node
        return node

    def _alias(self, name: str, place: Place) -> Node:
        self._aliases += 1
        if self._aliases > ALIASES_MAX:
            place.refuse(f"more than {ALIASES_MAX} aliases, at *{name}", "write the values out")
        if name in self._open_anchors:
            place.refuse(f"alias *{name} stands inside its own anchor", "write the value out")
        if name not in self._anchors:
            place.refuse(f"alias *{name} has no anchor before it", f"define &{name} first")
        node = self._anchors[name]
        self._charge(node.size, place, f"alias *{name}")
        return Node(place, node.value, node.size, node.keys)

    def _charge(self, count: int, place: Place, what: str) -> None:
        self._expanded += count
        if self._expanded > EXPANDED_NODES_MAX:
            place.refuse(
                f"{what} grows the file past {EXPANDED_NODES_MAX} values", "write fewer aliases"
            )

    def _check_tag(self, event: Any, kind: str, place: Place) -> None:
        if event.tag not in (None, "!", _TAG + kind):
            place.refuse(f"tag {_short(event.tag)} is not plain data", "remove the tag")

    def _scalar(self, event: Any, place: Place) -> Any:
        tag, text = event.tag, event.value
        if tag in ("!", _TAG + "str") or (tag is None and not event.implicit[0]):
            return text
        value = plain_scalar(text, place)
        if tag is None:
            return value
        kinds = _KINDS.get(tag.removeprefix(_TAG))
        if kinds is None:
            place.refuse(f"tag {_short(tag)} is not plain data", "remove the tag")
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            place.refuse(f'tag {_short(tag)} does not fit "{text}"', "remove the tag")
        return float(value) if isinstance(value, int) and float in kinds else value

    def _sequence(self, events: Any, place: Place, depth: int) -> Node:
        items: list[Node] = []
        for event in events:
            if isinstance(event, yaml.SequenceEndEvent):
                break
            items.append(self._node(event, events, depth + 1))
        return Node(place, items, 1 + sum(item.size for item in items))

    def _mapping(self, events: Any, place: Place, depth: int) -> Node:
        found: dict[str, Node] = {}
        keys: dict[str, Place] = {}
        merges: list[Node] = []
        for event in events:
            if isinstance(event, yaml.MappingEndEvent):
                break
            at = self._place(event)
            key = self._key(event, at)
            merging = key == "<<" and event.implicit[0]
            if key in keys:
                at.refuse(
                    f"key {key!r} stands twice, first in line {keys[key].line}", "keep one of them"
                )
            keys[key] = at
            value = self._node(next(events), events, depth + 1)
            if merging:
                merges = self._merge_sources(value)
            else:
                found[key] = value
        self._merge(found, keys, merges, place)
        return Node(place, found, 1 + sum(1 + node.size for node in found.values()), keys)

    def _key(self, event: Any, place: Place) -> str:
        if not isinstance(event, yaml.ScalarEvent) or event.anchor is not None:
            place.refuse("a key that is not plain text", "write the key as a word")
        key = self._scalar(event, place)
        if not isinstance(key, str):
            place.refuse(f"key {event.value!r} is not text", f'quote it: "{event.value}"')
        return key

    def _merge_sources(self, value: Node) -> list[Node]:
        sources = value.value if isinstance(value.value, list) else [value]
        for source in sources:
            self._aliases += 1
            if self._aliases > ALIASES_MAX:
                source.place.refuse(f"more than {ALIASES_MAX} aliases and merges", "write them out")
            if not isinstance(source.value, dict):
                source.place.refuse("<< merges mappings only", "name a mapping, or a list of them")
        return sources

    def _merge(
        self, found: dict[str, Node], keys: dict[str, Place], merges: list[Node], place: Place
    ) -> None:
        for source in merges:
            self._charge(source.size, source.place, "merge")
            for key, node in source.value.items():
                if key not in found:
                    found[key] = node
                    keys[key] = (source.keys or {}).get(key, place)


def _short(tag: str) -> str:
    return "!!" + tag.removeprefix(_TAG) if tag.startswith(_TAG) else tag
