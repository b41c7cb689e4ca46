"""A strategy function from memory, as a file: its source and all it reaches, as a run keeps it.

What runs is what is kept: the text is written out, loaded like any user's file, and run from there.
A notebook cell edited later changes nothing about a run that was started before.
"""

from __future__ import annotations

import ast
import dis
import hashlib
import inspect
import sys
import tempfile
import textwrap
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

import msgspec

from parity.model.errors import ConfigError
from parity.model.parameters import is_plain
from parity.model.values import StrategyConfig
from parity.settings.pyfile import load_python_file
from parity.settings.siblings import is_installed
from parity.settings.strategies import spec_of
from parity.strategies.functional import declared

if TYPE_CHECKING:
    from parity.model.parameters import Parameter
    from parity.settings.drafts import StrategySpec
    from parity.strategies.functional import FunctionStrategy


def spec_of_function(strategy: FunctionStrategy) -> StrategySpec:
    """Return the spec of a decorated function, loaded from the text that a run will keep.

    Raises:
        ConfigError: its source is not to be had, or it uses something that cannot be written down.
    """
    text = source_of(strategy)
    folder = _own_folder() / _digest(text)
    folder.mkdir(exist_ok=True)
    path = folder / f"{_identifier(strategy.name)}.py"
    path.write_text(text, encoding="utf-8")
    file = load_python_file(path)
    _check_defaults(strategy, file.strategies[0].declared or {})
    config = StrategyConfig(
        strategy_id=strategy.name,
        strategy_type=f"{path.name}:{strategy.name}",
        parameters=strategy.given,
        on=strategy.on,
    )
    return spec_of(config, [file])


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    # Private and of a name nobody can guess; it goes when the process ends.
    return tempfile.TemporaryDirectory(prefix="parity-cells-")


def _own_folder() -> Path:
    return Path(_folder().name)


def source_of(strategy: FunctionStrategy) -> str:
    """Return a file's text that defines the strategy and everything it reaches."""
    parts = _Parts(strategy.name)
    parts.reach(strategy.function)
    decorated = _source(strategy.function, strategy.name)
    kept = msgspec.structs.replace(strategy, given={})
    head = f"@_parity.strategy({kept.name!r}, history={kept.history}, on={kept.on!r})"
    body = _without_decorators(decorated)
    return (
        "\n\n\n".join(
            [
                f'"""Strategy {strategy.name!r} as it ran."""\n\n'
                "from __future__ import annotations\n\nimport parity as _parity\n"
                + "\n".join(sorted(parts.imports)),
                *parts.values,
                *parts.functions,
                f"{head}\n{body}",
            ]
        )
        + "\n"
    )


class _Parts:
    """The imports, values and helpers that functions reach through their globals."""

    def __init__(self, name: str) -> None:
        self.imports: set[str] = set()
        self.values: list[str] = []
        self.functions: list[str] = []
        self._name = name
        self._seen: dict[str, Any] = {}

    def reach(self, function: Callable[..., Any]) -> None:
        """Collect what a function uses from outside itself."""
        function = inspect.unwrap(function)
        source = _source(function, self._name)
        loaded, stored = _names(function.__code__)
        for name in sorted(stored):
            self._refuse(name, "is assigned from inside")
        for default in _defaults(source):
            loaded |= {n.id for n in ast.walk(default) if isinstance(n, ast.Name)}
        around = inspect.getclosurevars(function).nonlocals
        for name in sorted({*loaded, *around}):
            if name in around or name in function.__globals__:
                self._take(name, around.get(name, function.__globals__.get(name)))

    def _take(self, name: str, value: Any) -> None:
        if name in self._seen:
            if self._seen[name] is not value:
                self._refuse(name, "stands for two things")
            return
        self._seen[name] = value
        if isinstance(value, ModuleType):
            if not _installed(value):
                self._refuse(name, f"is the module {value.__name__}, which is not installed")
            self.imports.add(f"import {value.__name__} as {name}")
        elif isinstance(value, FunctionType) and not _installed(inspect.getmodule(value)):
            self.reach(value)
            self.functions.append(_without_decorators(_source(value, self._name)))
            if value.__name__ != name:
                self.functions.append(f"{name} = {value.__name__}")
        elif getattr(value, "__module__", None) and hasattr(value, "__qualname__"):
            if "." in value.__qualname__ or not _installed(sys.modules.get(value.__module__)):
                self._refuse(name, f"is {value.__qualname__}, defined here")
            self.imports.add(f"from {value.__module__} import {value.__qualname__} as {name}")
        elif is_plain(value):
            self.values.append(f"{name} = {_literal(name, value, self)}")
        else:
            self._refuse(name, f"is a {type(value).__name__}")

    def _refuse(self, name: str, what: str) -> None:
        raise ConfigError(
            f"strategy {self._name}: {name!r} {what}, which a run cannot keep",
            cure="use plain values, functions and installed modules, or put the strategy in a file",
        )


def _literal(name: str, value: Any, parts: _Parts) -> str:
    text = repr(value)
    try:
        if ast.literal_eval(text) == value:
            return text
    except (ValueError, SyntaxError):
        pass
    parts._refuse(name, f"is {text}")
    return text


def _installed(module: ModuleType | None) -> bool:
    """Say whether a module is part of Python, of parity, or of an installed package."""
    if module is None or module.__name__ == "__main__":
        return False  # whoever runs it, what it defines is the user's
    top = module.__name__.partition(".")[0]
    if top == "parity" or top in sys.stdlib_module_names:
        return True
    file = getattr(module, "__file__", None)
    return file is not None and is_installed(Path(file).resolve())


def _names(code: CodeType) -> tuple[set[str], set[str]]:
    """Return the outside names that a function's code reads, and those it assigns."""
    loaded: set[str] = set()
    stored: set[str] = set()
    for step in dis.get_instructions(code):
        if step.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            loaded.add(step.argval)
        around = step.opname == "STORE_DEREF" and step.argval in code.co_freevars
        if around or step.opname in ("STORE_GLOBAL", "DELETE_GLOBAL"):
            stored.add(step.argval)
    for inner in code.co_consts:
        if isinstance(inner, CodeType):  # a comprehension, a lambda, a function inside
            read, assigned = _names(inner)
            loaded |= read
            stored |= assigned - set(code.co_cellvars)
    return loaded, stored


def _defaults(source: str) -> list[ast.expr]:
    arguments = _definition(source).args
    return [d for d in (*arguments.defaults, *arguments.kw_defaults) if d is not None]


def _check_defaults(strategy: FunctionStrategy, kept: Mapping[str, Parameter]) -> None:
    for name, parameter in declared(strategy.function).items():
        if name in kept and kept[name].default != parameter.default:
            raise ConfigError(
                f"strategy {strategy.name}: the default of {name} was {parameter.default!r}, what "
                f"is written there now gives {kept[name].default!r}",
                cure="run the cell that defines it again",
            )


def _source(function: Callable[..., Any], name: str) -> str:
    try:
        return textwrap.dedent(inspect.getsource(function))
    except (OSError, TypeError):
        raise ConfigError(
            f"strategy {name}: the source of {getattr(function, '__name__', function)} is not to "
            "be had, so no run could keep it",
            cure="write it in a notebook cell or a file",
        ) from None


def _without_decorators(source: str) -> str:
    return "\n".join(source.splitlines()[_definition(source).lineno - 1 :])


def _definition(source: str) -> ast.FunctionDef:
    try:
        definition = ast.parse(source).body[0]
    except SyntaxError:
        definition = ast.Pass()  # a lambda inside an expression, say
    if not isinstance(definition, ast.FunctionDef):
        raise ConfigError(
            "a strategy, and what it calls, are plain functions",
            cure="write def name(tick, history, *, …)",
        )
    return definition


def _identifier(name: str) -> str:
    return "".join(c if c.isalnum() else "_" for c in name)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
