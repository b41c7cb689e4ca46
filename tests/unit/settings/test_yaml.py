"""The YAML and JSON readers: plain data, exact places, and limits that hold."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from parity.model.errors import ConfigError
from parity.settings.document import DEPTH_MAX
from parity.settings.jsonrows import parse_json
from parity.settings.yaml import (
    ALIASES_MAX,
    EXPANDED_NODES_MAX,
    SIZE_BYTES_MAX,
    load_yaml,
    parse_yaml,
)

if TYPE_CHECKING:
    from pathlib import Path

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Co", "Cn"])),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text("abcdefgh_", min_size=1), inner, max_size=4)
    ),
    max_leaves=12,
)


def alias_bomb(levels: int, fan: int) -> str:
    """Return a few hundred bytes that stand for fan ** levels values."""
    lines = ["a0: &a0 [" + ",".join(["lol"] * fan) + "]"]
    lines += [f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * fan)}]" for n in range(1, levels)]
    return "\n".join(lines)


def test_alias_bomb_is_refused_at_load(tmp_path: Path) -> None:
    """450 bytes that stand for a billion values are refused with the line, unbuilt."""
    bomb = alias_bomb(9, 9)
    assert len(bomb) < 450
    assert (
        len(repr(yaml.safe_load(alias_bomb(3, 9)))) > 3000
    )  # the same text, smaller, passes there
    file = tmp_path / "bomb.yaml"
    file.write_text(bomb)
    with pytest.raises(ConfigError, match=r"bomb\.yaml:\d+:\d+: more than 16 aliases"):
        load_yaml(file)


def test_few_aliases_can_still_be_too_large() -> None:
    """Aliases under the count limit are refused for what they expand to."""
    bomb = alias_bomb(8, 1).replace("[lol]", "[" + ",".join(["x"] * 9000) + "]")
    with pytest.raises(ConfigError, match=f"past {EXPANDED_NODES_MAX} values"):
        parse_yaml(bomb, "b.yaml")
    doubled = "a: &a [x,x,x,x]\n" + "".join(
        f"b{n}: &{chr(98 + n)} [*{chr(97 + n)}, *{chr(97 + n)}]\n" for n in range(8)
    )
    assert len(repr(parse_yaml(doubled, "d.yaml").plain())) > 1000  # 16 aliases are still served


def test_merge_keys_count_as_aliases() -> None:
    """A merge is an alias that copies: seventeen of them are one too many."""
    merges = "\n".join(f"m{n}:\n  <<: {{a: {n}}}" for n in range(ALIASES_MAX))
    assert parse_yaml(merges, "m.yaml").plain()["m3"] == {"a": 3}
    with pytest.raises(ConfigError, match="aliases and merges"):
        parse_yaml(merges + "\nlast:\n  <<: {a: 1}", "m.yaml")


def test_merge_keeps_what_is_written() -> None:
    """A key beside a merge wins, the first merged mapping wins over the second, copies are own."""
    text = "a: &a {p: 1, q: [1]}\nb: &b {p: 2, r: 3}\nc:\n  <<: [*a, *b]\n  r: 4\n"
    plain = parse_yaml(text, "m.yaml").plain()
    assert plain["c"] == {"r": 4, "p": 1, "q": [1]}
    plain["c"]["q"].append(2)
    assert plain["a"]["q"] == [1]


def test_duplicate_key_names_both_lines() -> None:
    """The second of two equal keys is refused, with the line of each."""
    with pytest.raises(ConfigError) as caught:
        parse_yaml("a:\n  x: 1\n  y: 2\n  x: 3\n", "d.yaml")
    assert str(caught.value).startswith("d.yaml:4:3: key 'x' stands twice, first in line 2")


def test_recursive_alias_is_refused() -> None:
    """A list that holds itself is no plain data."""
    with pytest.raises(ConfigError, match="inside its own anchor"):
        parse_yaml("a: &a [1, *a]", "r.yaml")


@pytest.mark.parametrize("bracket", ["[", "{a: "])
def test_depth_is_limited(bracket: str) -> None:
    """The thirty-third level is refused where it begins, however deep the text goes on."""
    with pytest.raises(ConfigError, match=f"nested deeper than {DEPTH_MAX}"):
        parse_yaml(bracket * 5000, "deep.yaml")
    with pytest.raises(ConfigError, match=f"nested deeper than {DEPTH_MAX}"):
        parse_json("[" * 5000, "deep.json")


def test_size_is_limited(tmp_path: Path) -> None:
    """A file of one byte more than the limit is not parsed at all."""
    file = tmp_path / "big.yaml"
    file.write_text("x: " + "a" * (SIZE_BYTES_MAX - 2))
    with pytest.raises(ConfigError, match="larger than 1000000 bytes"):
        load_yaml(file)


@pytest.mark.parametrize(
    "text",
    [
        "!!python/object/apply:os.system ['true']",
        "a: !!python/name:os.system",
        "a: !custom 1",
        "a: !!timestamp 2026-01-01",
        "a: !!binary aGk=",
        "!!set {a, b}",
    ],
)
def test_tags_never_construct(text: str) -> None:
    """A tag that is not plain data is refused by its name."""
    with pytest.raises(ConfigError, match="is not plain data"):
        parse_yaml(text, "t.yaml")


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("on", "on"),
        ("no", "no"),
        ("yes", "yes"),
        ("true", True),
        ("2026-01-01", "2026-01-01"),
        ("2026-01-01T10:00:00Z", "2026-01-01T10:00:00Z"),
        ("12:30:00", "12:30:00"),
        ("1e3", 1000.0),
        ("1_000", "1_000"),
        ("0x1F", 31),
        ("0o17", 15),
        ("-5", -5),
        (".5", 0.5),
        ("-.inf", float("-inf")),
        ("~", None),
        ("", None),
        ("'5'", "5"),
        ("!!str 5", "5"),
        ("!!float 5", 5.0),
        ("-", "-"),
        ("+", "+"),
        (".", "."),
        ("1.2.3", "1.2.3"),
    ],
)
def test_scalars_mean_what_they_look_like(written: str, meant: Any) -> None:
    """Words and times stay text; only what looks like a number is one."""
    if written == "-":
        written = "'-'"
    value = parse_yaml(f"on: {written}", "s.yaml").plain()["on"]
    assert value == meant
    assert type(value) is type(meant)


@pytest.mark.parametrize(
    "text", ["010", "-007", "9" * 5000, "1: a", "null: a", "[a]: b", "? {a: b}"]
)
def test_guesses_are_refused(text: str) -> None:
    """Octal-looking numbers, endless ones, and keys that are no text are refused with a cure."""
    with pytest.raises(ConfigError) as caught:
        parse_yaml(text if ":" in text or "?" in text else f"a: {text}", "g.yaml")
    assert caught.value.cure
    assert str(caught.value).startswith("g.yaml:1:")


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("a: 1\nb: [1, 2\n", "3:1"),
        ("a: b: c", "1:5"),
        ("a: 1\n\tb: 2", "2:1"),
        ("a: 1\n--- \nb: 2\n", "3:1"),
        ("ab\x00c", "1:3"),
        ("x: 1\ny: \x07", "2:4"),
        ("a: *x", "1:4"),
        ("%YAML 9.9\n---\na", "1:1"),
    ],
)
def test_errors_name_line_and_column(text: str, place: str) -> None:
    """Whatever is wrong with the text, the error says where."""
    with pytest.raises(ConfigError) as caught:
        parse_yaml(text, "e.yaml")
    assert str(caught.value).startswith(f"e.yaml:{place}: ")


def test_undecodable_and_absent_files_are_named(tmp_path: Path) -> None:
    """A file that is not UTF-8 or not there is refused with its name."""
    file = tmp_path / "latin.yaml"
    file.write_bytes(b"a: 1\nb: \xe9\n")
    with pytest.raises(ConfigError, match=r"latin\.yaml:2: byte 0xe9 is not UTF-8"):
        load_yaml(file)
    with pytest.raises(ConfigError, match=r"gone\.yaml: cannot be read"):
        load_yaml(tmp_path / "gone.yaml")


def test_places_follow_paths() -> None:
    """`where` gives a key's line, through lists, and the nearest parent of what is missing."""
    root = parse_yaml("a:\n  - b: 1\n    c:\n      d: 2\n", "w.yaml")
    assert root.where(("a", 0, "c", "d")).line == 4
    assert root.where(("a", 0, "missing", "x")).line == 2
    assert root.where(("nothing",)).line == 1


@settings(max_examples=50, deadline=None)
@given(PLAIN)
def test_round_trip_law(value: Any) -> None:
    """What PyYAML and json write from plain data, our readers read back exactly."""
    text = yaml.safe_dump(value, allow_unicode=True)
    assert parse_json(json.dumps(value), "r.json").plain() == value
    assert parse_json(json.dumps(value, indent="\t"), "r.json").plain() == value
    if "&" not in text:  # the dumper writes an alias where it meets one object twice
        assert parse_yaml(text, "r.yaml").plain() == value


@settings(max_examples=50, deadline=None)
@given(st.text(st.characters(codec="utf-8"), max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    """No text brings out anything but a value or a ConfigError that names the file."""
    for parse in (parse_yaml, parse_json):
        try:
            parse(text, "any.txt").plain()
        except ConfigError as error:
            assert str(error).startswith("any.txt:")  # noqa: PT017 - both outcomes are right


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"a": 1,\n "a": 2}', "j.json:2:2: key 'a' stands twice, first in line 1"),
        ("[1, 2", "j.json:1:6: not valid JSON: expected ',' after a value"),
        ("[1,\n NaN]", "j.json:2:2: not valid JSON: expected a value, was NaN]"),
        ("{a: 1}", "j.json:1:2: not valid JSON: expected a key in double quotes"),
        ("[1] x", "j.json:1:5: text behind the end of the JSON value"),
        ('["a\n"]', "j.json:1:4: not valid JSON: Invalid control character at"),
        ("[01]", "j.json:1:3: not valid JSON: expected ',' after a value"),
        ("[1,]", "j.json:1:4: not valid JSON: expected a value, was ]"),
        ("", "j.json:1:1: not valid JSON: expected a value, was the end of the file"),
        ("[" + "1" * 50 + "]", "j.json:1:2: number of 50 characters"),
    ],
)
def test_json_errors_name_their_place(text: str, said: str) -> None:
    """Duplicate keys, NaN and broken JSON are refused with line and column."""
    with pytest.raises(ConfigError) as caught:
        parse_json(text, "j.json")
    assert str(caught.value).startswith(said)
