"""Python files: what counts as a strategy, whose modules are whose, and what is kept."""

from __future__ import annotations

import hashlib
import importlib
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import parity.strategies
from parity.model.errors import ConfigError
from parity.settings.pyfile import PROCESSOR_METHODS, load_python_file, strategy_at

Write = Callable[[str, str], Path]

METHODS = """
    def process_tick(self, tick, history): return None
    def get_required_history_length(self): return 1
    def supports_instrument(self, token): return True
    def get_strategy_name(self): return "mine"
"""
FUNCTION = """
from parity.model.values import SignalResult
from parity.strategies.functional import strategy

@strategy("dip", history=50, on="quotes")
def dip(tick, history, *, drop=0.004, quantity=1):
    if 1 - tick.price / history.price[0] > drop:
        return SignalResult("BUY", 0.8, quantity, tick.price, "dip")
"""


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a file below the test's folder."""

    def write(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return write


def refusal(path: Path) -> str:
    """Return the text of the ConfigError that loading this file raises."""
    with pytest.raises(ConfigError) as caught:
        load_python_file(path)
    return str(caught.value)


def test_decorated_functions_are_found(write: Write) -> None:
    """`@strategy` functions come with their name, parameters, ticks and line."""
    (found,) = load_python_file(write("a.py", FUNCTION)).strategies
    assert (found.name, found.kind, found.on, found.line) == ("dip", "function", "quotes", 5)
    assert found.declared is not None
    assert {n: p.default for n, p in found.declared.items()} == {"drop": 0.004, "quantity": 1}
    assert found.create({"drop": 0.1}).get_required_history_length() == 50


def test_a_configured_function_keeps_its_parameters(write: Write) -> None:
    """`dip(drop=0.1)` in the place of `dip` runs with 0.1; two of one name are refused."""
    text = FUNCTION + "\ndip = dip(drop=0.1)\n"
    (found,) = load_python_file(write("a.py", text)).strategies
    assert found.declared is not None
    assert found.declared["drop"].default == 0.1
    twice = FUNCTION + "\ndeep = dip(drop=0.1)\n"
    assert "strategy 'dip' stands twice, first in line 5" in refusal(write("b.py", twice))


def test_processor_classes_are_found(write: Write) -> None:
    """A class with the four methods is a strategy; its keyword parameters are declared."""
    text = (
        "from dataclasses import dataclass\nfrom typing import Protocol\n\n"
        "@dataclass\nclass Mine:\n    size: int = 3\n" + METHODS
        + "\nclass Part:\n    def process_tick(self, tick, history): ...\n"
        + "\nclass Shape(Protocol):\n" + METHODS
    )  # fmt: skip
    (found,) = load_python_file(write("a.py", text)).strategies
    assert (found.name, found.kind) == ("Mine", "class")
    assert found.declared is not None
    assert found.declared["size"].default == 3
    assert found.create({"size": 4}).size == 4


@pytest.mark.parametrize(
    ("name", "called"),
    [
        ("create", "a"),
        ("create_fast", "fast"),
        ("create_rules_momentum_processor", "rules_momentum"),
    ],
)
def test_factories_are_found(write: Write, name: str, called: str) -> None:
    """`create(config)` and the seed's `create_…_processor(config)` are strategies."""
    text = "class Mine:\n    def __init__(self, size): self.size = size\n" + METHODS
    text += f"\ndef {name}(config):\n    return Mine(config.get('size', 2))\n"
    (found,) = load_python_file(write("a.py", text)).strategies
    assert (found.name, found.kind, found.declared) == (called, "create", None)
    assert found.create({"size": 5}).size == 5


def test_imported_classes_are_not_the_files_own(write: Write) -> None:
    """A processor that a file only imports is no strategy of that file."""
    write("base.py", "class Mine:\n" + METHODS)
    said = refusal(write("a.py", "from base import Mine\n"))
    assert "no strategy found" in said
    assert "@pt.strategy" in said  # it shows what one looks like


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = 1\ndef broken(:\n    pass\n", "a.py:2:12: not valid Python: "),
        ("x = 1\n\nimport nowhere\n", "a.py:3: failed while loading: ModuleNotFoundError"),
        ("def f():\n    return 1 / 0\n\nf()\n", "a.py:2: failed while loading: ZeroDivisionError"),
        ("import sys\nsys.exit(3)\n", "a.py:2: failed while loading: SystemExit"),
        ("import broken\n", "failed while loading: SyntaxError"),
        ("", "no strategy found"),
        ("a = '\x00'\n", "not valid Python"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(write: Write, text: str, said: str) -> None:
    """Syntax errors, failing imports and empty files are named with their line."""
    write("broken.py", "def f(:\n")
    assert said in refusal(write("a.py", text))


def test_absent_file_names_what_is_near(write: Write, tmp_path: Path) -> None:
    """A file that is not there is refused, with the name that was meant."""
    write("momentum.py", "")
    said = refusal(tmp_path / "momentun.py")
    assert "no such file; did you mean 'momentum.py'?" in said
    assert "no such file" in refusal(tmp_path / "gone" / "x.py")


def test_a_class_is_found_by_what_its_file_calls_it(write: Write) -> None:
    """Not by what it calls itself; an alias of it is no second strategy."""
    text = "class Base:\n" + METHODS + "Fast = type('Quick', (Base,), {})\nAlias = Fast\n"
    loaded = load_python_file(write("a.py", text))
    one = {"Base": "Base", "Quick": "Fast"}

    assert one == {found.name: found.attribute for found in loaded.strategies}
    assert ["Quick"] * 2 == [strategy_at(loaded, name).name for name in ("Fast", "Alias")]
    two = text + "Slow = type('Quick', (Base,), {})\n"
    assert "strategy 'Quick' stands twice" in refusal(write("b.py", two))


def test_a_users_packages_never_shadow_ours(write: Write) -> None:
    """A project with its own `strategies` and `sources` packages gets them, and we keep ours."""
    write("project/strategies/__init__.py", "OWNER = 'user'\n")
    write("project/strategies/momentum.py", "class Mine:\n" + METHODS)
    write("project/sources/__init__.py", "OWNER = 'user'\n")
    text = (
        "import parity.strategies, strategies, sources\n"
        "from strategies.momentum import Mine as Base\n"
        "OURS, THEIRS = parity.strategies, (strategies.OWNER, sources.OWNER)\n"
        "def create(config): return Base()\n"
    )
    path_before = list(sys.path)
    loaded = load_python_file(write("project/main.py", text))
    assert loaded.module.THEIRS == ("user", "user")
    assert loaded.module.OURS is parity.strategies
    assert sys.path == path_before
    assert [s.name for s in loaded.sources] == [
        "main.py",
        "sources/__init__.py",
        "strategies/__init__.py",
        "strategies/momentum.py",
    ]


def test_two_projects_get_their_own_siblings(write: Write) -> None:
    """Equal sibling names in two folders do not mix, and an edited sibling is read again."""
    text = "from common import VALUE\ndef create(config): return VALUE\n"
    for name in ("one", "two"):
        write(f"{name}/common.py", f"VALUE = {name!r}\n")
        write(f"{name}/mine.py", text)
    first = load_python_file(write("one/mine.py", text))
    second = load_python_file(write("two/mine.py", text))
    assert [f.strategies[0].create({}) for f in (first, second)] == ["one", "two"]
    assert first.module.__name__ != second.module.__name__
    os.utime(write("one/common.py", "VALUE = 'edited'\n"), (1, 1))  # an older date, another size
    assert load_python_file(write("one/mine.py", text)).strategies[0].create({}) == "edited"


def test_an_import_inside_a_method_finds_its_own_sibling(write: Write) -> None:
    """Whoever was loaded since, and though nobody has its folder on the path any more."""
    text = "def create(config):\n    def late():\n        import common\n"
    text += "        return common.VALUE\n    return late\n"
    files = []
    for name in ("one", "two", "none"):
        if name != "none":
            write(f"{name}/common.py", f"VALUE = {name!r}\n")
        files.append(load_python_file(write(f"{name}/mine.py", text)))
    made = [f.strategies[0].create({}) for f in files]

    assert ["one", "two", "one"] == [late() for late in (made[0], made[1], made[0])]
    assert "common" not in sys.modules
    with pytest.raises(ModuleNotFoundError):
        made[2]()


def test_what_a_sibling_imports_inside_a_function_is_kept(write: Write) -> None:
    """It is a part of the strategy, and so of its source's hash, however deep."""
    write("deep.py", "VALUE = 1\n")
    write("middle.py", "def value():\n    import deep\n    return deep.VALUE\n")
    text = "def create(config):\n    import middle\n    return middle.value()\n"
    loaded = load_python_file(write("mine.py", text))

    assert ["mine.py", "deep.py", "middle.py"] == [s.name for s in loaded.sources]
    assert 1 == loaded.strategies[0].create({})


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("try:\n    from broken import VALUE\nexcept ImportError:\n    VALUE = 1\n", []),
        ("if __name__ == '__main__':\n    import script\nVALUE = 1\n", []),
        ("from middle import VALUE\n", ["deep.py", "middle.py"]),
        (
            "VALUE = 1\ndef late():\n    try:\n        import broken\n"
            "    except ImportError:\n        import deep\n",
            ["deep.py"],
        ),
    ],
)
def test_what_a_file_does_not_import_is_not_run(write: Write, text: str, kept: list[str]) -> None:
    """What it guards or never reaches at its top is not imported for it; functions' imports are."""
    write("broken.py", "import there_is_no_such_module\n")
    write("script.py", "raise RuntimeError('a script ran')\n")
    write("deep.py", "VALUE = 1\n")
    lines = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import broken\n"
    write("middle.py", f"{lines}VALUE = 1\nclass Late:\n    def say(self):\n        import deep\n")
    loaded = load_python_file(write("mine.py", f"{text}def create(config): return VALUE\n"))

    assert ["mine.py", *kept] == [source.name for source in loaded.sources]
    assert 1 == loaded.strategies[0].create({})


@pytest.mark.parametrize(
    ("handlers", "guards"),
    [
        ("except ImportError: pass", True),
        ("except ModuleNotFoundError: pass", True),
        ("except (ValueError, ImportError): pass", True),
        ("except ValueError: pass\n    except Exception as error: pass", True),
        ("except: pass", True),
        ("except builtins.ImportError: pass", True),
        ("except ValueError: pass", False),
        ("except (ValueError, KeyError): pass", False),
        ("finally: pass", False),
    ],
)
@pytest.mark.parametrize(
    "imported", ["import broken", "from pack import broken", "from pack import far"]
)
def test_only_who_takes_an_import_error_guards(
    write: Write, imported: str, handlers: str, guards: bool
) -> None:
    """A `try` for something else does not: its function fails when it is called, as its file now.

    What climbs out of its own package is no other.
    """
    write("pack/__init__.py", "")
    write("broken.py", "import there_is_no_such_module\n")
    write("pack/broken.py", "import there_is_no_such_module\n")
    write("pack/far.py", "def late():\n    try:\n        from ...out import x\n    " + handlers)
    text = f"import builtins\ndef late():\n    try:\n        {imported}\n    {handlers}\n"
    path = write("mine.py", f"{text}def create(config): return 1\n")
    if guards:
        assert 1 == load_python_file(path).strategies[0].create({})
    else:
        with pytest.raises(ConfigError, match=r"there_is_no_such_module|beyond top-level"):
            load_python_file(path)


# How a helper one level down finds what lies beside it, and the files that this takes.
LEVELS_DOWN = {
    "inside a function": {
        "helper.py": "def who():\n    from inner import WHO\n    return WHO\n",
        "inner.py": "WHO = {!r}\n",
    },
    "inside a method, two down": {
        "helper.py": "class Who:\n    def say(self):\n        import middle\n"
        "        return middle.who()\ndef who(): return Who().say()\n",
        "middle.py": "def who():\n    import inner\n    return inner.WHO\n",
        "inner.py": "WHO = {!r}\n",
    },
    "in a package, by its full name": {
        "helper.py": "def who():\n    from desk.inner import WHO\n    return WHO\n",
        "desk/__init__.py": "",
        "desk/inner.py": "WHO = {!r}\n",
    },
    "in a package, as a part of it": {
        "helper.py": "def who():\n    from desk import inner\n    return inner.WHO\n",
        "desk/__init__.py": "",
        "desk/inner.py": "WHO = {!r}\n",
    },
    "in a package, relatively": {
        "helper.py": "from desk.outer import who\n",
        "desk/__init__.py": "",
        "desk/outer.py": "def who():\n    from .inner import WHO\n    return WHO\n",
        "desk/inner.py": "WHO = {!r}\n",
    },
    "in a folder without __init__": {
        "helper.py": "def who():\n    from desk.inner import WHO\n    return WHO\n",
        "desk/inner.py": "WHO = {!r}\n",
    },
}


@pytest.mark.parametrize("top", ["import helper\n", ""])
@pytest.mark.parametrize("how", LEVELS_DOWN)
def test_a_second_file_beside_changes_nothing(write: Write, how: str, top: str) -> None:
    """What a helper imports when it is called is its own folder's, alone or with another loaded."""
    inside = "" if top else "        import helper\n"
    text = f"{top}def create(config):\n    def say():\n{inside}        return helper.who()\n"
    text += "    return say\n"
    for name in ("one", "two"):
        for file, body in LEVELS_DOWN[how].items():
            write(f"{name}/{file}", body.format(name))
    alone = load_python_file(write("one/mine.py", text))
    said = alone.strategies[0].create({})
    before = said()
    second = load_python_file(write("two/mine.py", text)).strategies[0].create({})

    assert ["one", "two", "one"] == [before, second(), said()]
    kept = {source.name: source.text for source in alone.sources}
    assert {"mine.py", *LEVELS_DOWN[how]} == set(kept)
    assert "'one'" in "".join(kept.values())


@pytest.mark.parametrize("by", ["one", "two"])
@pytest.mark.parametrize("package", [False, True])
def test_what_a_notebook_imported_is_nobodys_sibling(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: str, package: bool
) -> None:
    """A module of an equal name, even the very file: the strategy gets its own, and it is kept."""
    sibling = "held/common.py" if package else "common.py"
    module = "held.common" if package else "common"
    for name in ("one", "two"):
        write(f"{name}/{sibling}", f"VALUE = {name!r}\n")
    monkeypatch.syspath_prepend(tmp_path / by)
    there = importlib.import_module(module)
    before = {name: sys.modules[name] for name in (module, module.partition(".")[0])}
    try:
        text = f"import {module} as at_once\ndef create(config):\n    def late():\n"
        text += f"        from {module} import VALUE\n        return at_once.VALUE, VALUE\n"
        loaded = load_python_file(write("one/mine.py", f"{text}    return late\n"))
        said = loaded.strategies[0].create({})

        assert ("one", "one") == said()
        assert ["mine.py", sibling] == [source.name for source in loaded.sources]
        load_python_file(write("three/mine.py", "def create(config): return 1\n"))
        assert before == {name: sys.modules.get(name) for name in before}
        assert by == there.VALUE
    finally:
        for name in before:
            sys.modules.pop(name, None)


def test_a_sibling_that_runs_is_the_text_that_is_kept(write: Write) -> None:
    """An edit of equal length at the same instant: its stale `.pyc` is passed over."""
    text = "import common\ndef create(config): return common.VALUE\n"
    path = write("common.py", "")
    for value in (1, 2, 3):
        path.write_text(f"VALUE = {value}\n")
        os.utime(path, (1_000_000, 1_000_000))
        loaded = load_python_file(write("a.py", text))

        assert value == loaded.strategies[0].create({})
        assert path.read_text() == loaded.sources[1].text


def test_the_standard_library_is_nobodys_sibling(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Run from a folder above Python itself, modules of the library stay loaded and unkept."""
    monkeypatch.chdir("/")
    text = "import colorsys\ndef create(config): return colorsys\n"
    sys.modules.pop("colorsys", None)
    loaded = load_python_file(write("a.py", text))
    assert [s.name for s in loaded.sources] == ["a.py"]
    assert sys.modules["colorsys"] is loaded.strategies[0].create({})
    load_python_file(write("b.py", text))
    assert sys.modules["colorsys"] is loaded.strategies[0].create({})


def test_the_text_that_is_kept_is_the_text_that_ran(write: Write) -> None:
    """An edit of equal length at the same instant is run and hashed, never a stale compilation."""
    path = write("a.py", "VALUE = 1\ndef create(config): return VALUE\n")
    for value in (1, 2, 3):
        path.write_text(f"VALUE = {value}\ndef create(config): return VALUE\n")
        os.utime(path, (1_000_000, 1_000_000))
        loaded = load_python_file(path)
        assert loaded.strategies[0].create({}) == value
        assert loaded.sources[0].text == path.read_text()
        assert loaded.sources[0].sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_module_is_importable_by_its_name(write: Write) -> None:
    """Dataclasses, numba and generated drivers look a function's module up in sys.modules."""
    loaded = load_python_file(write("a.py", "def create(config): return 1\n"))
    assert sys.modules[loaded.module.__name__] is loaded.module
    assert loaded.module.__name__.isidentifier()
    assert len(PROCESSOR_METHODS) == 4
