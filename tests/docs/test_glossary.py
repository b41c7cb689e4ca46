"""The glossary is kept: a word that it rules out is not the name of anything public."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("parity", "strategies", "sources")
# Names in which a ruled-out word means something else, or that somebody else chose.
ALLOWED = {
    "KeptLog": "of log lines, not of events",
    "command": "of the command line",
    "exchange_timestamp": "Kite's name, on the wire",
    "index": "the place of a value in an array",
    "init_settings": "pydantic's name",
    "last_trade_time": "Kite's name, on the wire",
    "log_level": "of log lines, not of events",
    "log_tail": "of log lines, not of events",
    "log_to_stderr": "of log lines, not of events",
    "rows_without_venue_time": "either kind of time",
    "time_bars_step": "bars by time: no column of ticks",
    "timestamp": "the name of older code, on MarketTick and on the wire",
}


def ruled_out() -> dict[str, str]:
    """Each single word of the last column that is no glossary word itself, with the one to use."""
    text = (ROOT / "GLOSSARY.md").read_text("utf-8")
    rows = re.findall(r"^\| (.+?) \| .+ \| (.*?) ?\|$", text, re.MULTILINE)[1:]
    ours = set(re.findall(r"[a-z]+", " ".join(first for first, _ in rows)))
    return {
        word: first
        for first, last in rows
        for word in last.split(", ")
        if re.fullmatch(r"[a-z]+", word) and word not in ours
    }


def public_names(text: str) -> Iterator[tuple[int, str]]:
    """Classes, functions, arguments and fields of a module that are not private, with lines."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.lineno, node.name
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name[0] != "_":
            for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs):
                yield argument.lineno, argument.arg
        if isinstance(node, ast.ClassDef):
            for field in node.body:
                if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                    yield field.lineno, field.target.id


def words(name: str) -> list[str]:
    """The words a name is made of: `LastTick` and `last_tick` are two."""
    return re.findall(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])", name)


def ruled_out_names(text: str, banned: dict[str, str]) -> Iterator[tuple[int, str, str]]:
    """Public names of a module with a word that is ruled out: line, name, word."""
    for line, name in public_names(text):
        if not name.startswith("_"):
            for word in words(name):
                if word.lower() in banned:
                    yield line, name, word.lower()


def test_public_names_use_the_glossary() -> None:
    """No class, function, argument or field is called by a word that the glossary rules out."""
    banned = ruled_out()
    modules = [
        path
        for folder in FOLDERS
        for path in sorted((ROOT / folder).rglob("*.py"))
        if folder != "parity" or path.relative_to(ROOT).parts[1] not in FOLDERS
    ]
    names = 0
    wrong = []
    used: set[str] = set()
    for path in modules:
        text = path.read_text("utf-8")
        names += sum(1 for _ in public_names(text))
        for line, name, word in ruled_out_names(text, banned):
            if name in ALLOWED:
                used.add(name)
                continue
            place = f"{path.relative_to(ROOT)}:{line}"
            wrong.append(f"{place}: {name}: not {word!r}; the glossary says {banned[word]!r}")

    assert len(banned) > 30
    assert len(modules) > 80
    assert names > 1500
    assert [] == wrong
    assert set(ALLOWED) == used


def test_a_ruled_out_name_is_seen() -> None:
    """Classes, functions, arguments and fields are looked at; private ones and parts are not."""
    planted = """
class SignalAlert:
    cursor: int
    _cursor: int

def emit(sink, _sink, sinking, *, baseline=1):
    index_of = 1

def _emit(sink):
    pass
"""
    found = [name for _, name, _ in ruled_out_names(planted, ruled_out())]

    assert ["SignalAlert", "baseline", "cursor", "emit", "sink"] == sorted(found)


def test_glossary_rows_are_whole() -> None:
    """Each word stands once, and what one row rules out is not what it explains."""
    rows = re.findall(
        r"^\| (.+?) \| (.+) \| (.*?) ?\|$", (ROOT / "GLOSSARY.md").read_text(), re.MULTILINE
    )
    first = [word.strip("` ") for row in rows for word in row[0].split(", ")]

    assert len(rows) > 40
    assert sorted(set(first)) == sorted(first)
    assert [] == [row for row in rows if set(row[0].split(", ")) & set(row[2].split(", "))]
