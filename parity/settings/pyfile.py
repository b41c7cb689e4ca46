"""Loads strategies from a user's Python file, and keeps the text that was run.

The text that is hashed is the text that is executed: it is compiled, never taken from a `.pyc`.
A file's own folder comes first on `sys.path` while it loads, so its siblings are found, a
user's `strategies` package included; ours is `parity.strategies` and cannot be shadowed.
"""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import linecache
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from parity.model.errors import ConfigError, did_you_mean
from parity.model.parameters import REQUIRED, Parameter
from parity.settings.document import read_text
from parity.settings.siblings import Siblings, first_on_path, in_place
from parity.strategies.functional import FunctionStrategy, declared
from parity.strategies.market_data import completed, is_older

if TYPE_CHECKING:
    from types import ModuleType

SIZE_BYTES_MAX: Final = 4_000_000
PROCESSOR_METHODS: Final = (
    "process_tick",
    "get_required_history_length",
    "supports_instrument",
    "get_strategy_name",
)
EXAMPLE: Final = """a strategy looks like this:

    import parity as pt

    @pt.strategy("dip", history=50)
    def dip(tick, history, *, drop=0.004, quantity=1):
        if 1 - tick.price / history.price[0] > drop:
            return pt.SignalResult("BUY", 0.8, quantity, tick.price, "dip")"""


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A source text as it was run.

    Args:
        path: where it was read.
        name: its path below the strategy file's folder, for the run's `source/`.
    """

    path: Path
    name: str
    text: str
    sha256: str


@dataclass(frozen=True, slots=True)
class FoundStrategy:
    """One strategy of a Python file.

    Args:
        name: its id where no configuration gives another.
        attribute: what it is called in its file.
        kind: "function" (`@pt.strategy`), "class" or "create".
        create: builds a processor from plain parameters.
        declared: its parameters, or None where it takes any mapping.
        on: which ticks it wants.
        line: where it is defined.
    """

    name: str
    attribute: str
    kind: str
    create: Callable[[Mapping[str, Any]], Any]
    declared: Mapping[str, Parameter] | None
    line: int
    on: str = "trades"


@dataclass(frozen=True, slots=True)
class PythonFile:
    """A loaded strategy file: what was found, and every source text it was made of."""

    path: Path
    module: ModuleType
    strategies: tuple[FoundStrategy, ...]
    sources: tuple[SourceFile, ...]  # the file itself first, then the siblings it imported
    own: dict[str, ModuleType] = field(default_factory=dict)  # those siblings, by name


def load_python_file(path: Path, *, may_be_empty: bool = False) -> PythonFile:
    """Run a Python file and find its strategies.

    Args:
        path: the file.
        may_be_empty: return a file without strategies instead of refusing it.

    Raises:
        ConfigError: no such file, a syntax error, an error while it ran, or nothing found.
    """
    if not path.is_file():
        near = [p.name for p in path.parent.glob("*.py")] if path.parent.is_dir() else []
        raise ConfigError(
            f"{path}: no such file",
            cure=did_you_mean(path.name, near) if near else "check the path",
        )
    path = path.resolve()
    main = _source(path, path.parent)
    module, own = _execute(path, main)
    found = {str(sibling.__file__) for sibling in own.values()}  # "None" of one that is no file
    files = sorted({Path(file).resolve() for file in found if file.endswith(".py")})
    siblings = [_source(file, path.parent) for file in files]
    strategies = tuple(_at_home(found, path.parent, own) for found in _find(module, path))
    if not strategies and not may_be_empty:
        raise ConfigError(f"{path}: no strategy found", cure=EXAMPLE)
    return PythonFile(path, module, strategies, (main, *siblings), own)


def _source(path: Path, root: Path) -> SourceFile:
    text = read_text(path, SIZE_BYTES_MAX)
    name = path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name
    return SourceFile(path, name, text, hashlib.sha256(text.encode()).hexdigest())


def _execute(path: Path, main: SourceFile) -> tuple[ModuleType, dict[str, ModuleType]]:
    """Run a file; return its module, and those of the user's that it brought in, by name."""
    # The path is in the name: two files of one stem and one text are two modules.
    tag = hashlib.sha256(f"{path}\0{main.sha256}".encode()).hexdigest()[:12]
    name = f"parity_user_{path.stem}_{tag}"
    try:
        code = compile(main.text, str(path), "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        line, column = getattr(error, "lineno", None) or 1, getattr(error, "offset", None) or 1
        raise ConfigError(
            f"{path}:{line}:{column}: not valid Python: {getattr(error, 'msg', error)}",
            cure="mend the line",
        ) from None
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None:  # not a name Python knows as source
        raise ConfigError(f"{path}: not a Python file", cure="give it the ending .py")
    module = importlib.util.module_from_spec(spec)
    linecache.checkcache(str(path))
    siblings = Siblings(path.parent)
    module.__dict__["__builtins__"] = siblings.builtins
    sys.modules[name] = module  # dataclasses and compiled kernels look their module up by name
    try:
        with siblings.loading():
            exec(code, module.__dict__)
            siblings.import_all(main.text)
    except (Exception, SystemExit) as error:
        sys.modules.pop(name, None)
        raise _failed(path, error) from error
    return module, siblings.own


def _at_home(found: FoundStrategy, folder: Path, own: dict[str, ModuleType]) -> FoundStrategy:
    """Return the strategy with its file's own modules in place whenever it is built."""
    if not own:
        return found

    def create(parameters: Mapping[str, Any]) -> Any:
        with in_place(own), first_on_path(folder):
            return found.create(parameters)

    return replace(found, create=create)


def _failed(path: Path, error: BaseException) -> ConfigError:
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename == str(path)]
    place = f"{path}:{own[-1].lineno}" if own else str(path)
    message = f"{place}: failed while loading: {type(error).__name__}: {error}"
    if isinstance(error, ImportError) and "relative import" in str(error):
        cure = "import the files beside it by their plain names: from momentum import …"
    elif isinstance(error, SyntaxError):
        cure = f"mend {error.filename}:{error.lineno}"
    elif isinstance(error, ModuleNotFoundError):
        cure = f"install it, or put {error.name}.py beside {path.name}"
    else:
        cure = "a strategy file only defines things; it does nothing when it is loaded"
    return ConfigError(message, cure=cure)


def _find(module: ModuleType, path: Path) -> list[FoundStrategy]:
    own = vars(module)
    decorated = [_decorated(n, v) for n, v in own.items() if isinstance(v, FunctionStrategy)]
    if decorated:
        return _distinct(decorated, path)
    factories = [
        _factory(name, value, module, path)
        for name, value in own.items()
        if inspect.isfunction(value)
        and value.__module__ == module.__name__
        and (name == "create" or name.startswith("create_"))
    ]
    if factories:  # their classes are parts of them
        return _distinct(factories, path)
    classes: dict[int, FoundStrategy] = {}
    for name, value in own.items():
        if inspect.isclass(value) and value.__module__ == module.__name__ and _is_strategy(value):
            classes.setdefault(id(value), _class(name, value))  # its other names are aliases
    return _distinct(list(classes.values()), path)


def _is_strategy(cls: type) -> bool:
    if getattr(cls, "_is_protocol", False) or inspect.isabstract(cls):
        return False
    processor = all(callable(getattr(cls, method, None)) for method in PROCESSOR_METHODS)
    return processor or is_older(cls)


def strategy_at(file: PythonFile, attribute: str) -> FoundStrategy:
    """Return the strategy of a loaded file that one of its names stands for.

    Raises:
        ConfigError: that is none.
    """
    value = getattr(file.module, attribute, None)
    for found in file.strategies:
        if value is not None and getattr(file.module, found.attribute) is value:
            return found
    one = _found(attribute, value, file)
    if one is None:
        known = {n for found in file.strategies for n in (found.name, found.attribute)}
        known |= {name for name, value in vars(file.module).items() if _is_meant(value, file)}
        raise ConfigError(
            f"{file.path}: {attribute!r} is no strategy",
            cure=did_you_mean(attribute, known) if known else EXAMPLE,
        )
    # What only its attribute leads to is called by it: a run finds it again by its name.
    one = replace(one, name=attribute)
    _distinct([*file.strategies, one], file.path)
    return _at_home(one, file.path.parent, file.own)


def _found(attribute: str, value: Any, file: PythonFile) -> FoundStrategy | None:
    """Return what an attribute stands for by itself, whatever else the file has."""
    if inspect.isclass(value):
        return _class(attribute, value) if _is_strategy(value) else None
    if inspect.isfunction(value):
        return _factory(attribute, value, file.module, file.path)
    return None


def _is_meant(value: Any, file: PythonFile) -> bool:
    """Say whether someone may have meant what a file has: its own classes and functions."""
    if getattr(value, "__module__", None) != file.module.__name__:
        return False
    if inspect.isclass(value):
        return _is_strategy(value)
    return inspect.isfunction(value) and not value.__name__.startswith("_")


def _short(factory: str) -> str:
    return factory.removeprefix("create").strip("_").removesuffix("_processor")


def _distinct(found: list[FoundStrategy], path: Path) -> list[FoundStrategy]:
    kept: dict[str, FoundStrategy] = {}
    for one in found:
        other = kept.setdefault(one.name, one)
        if other is not one and other.create != one.create:
            raise ConfigError(
                f"{path}:{one.line}: strategy {one.name!r} stands twice, "
                f"first in line {other.line}",
                cure="give one of them another name",
            )
    return list(kept.values())


def _decorated(name: str, spec: FunctionStrategy) -> FoundStrategy:
    values = spec.parameters  # the function's defaults, or what `dip(drop=0.01)` put over them
    parameters = {
        key: msgspec.structs.replace(one, default=values[key])
        for key, one in declared(spec.function).items()
    }
    line = _line(spec.function)
    return FoundStrategy(
        spec.name or name, name, "function", spec.create, parameters, line, spec.on
    )


def _as_declared(given: Mapping[str, Any]) -> dict[str, Parameter]:
    return {
        name: value if isinstance(value, Parameter) else Parameter("any", value)
        for name, value in given.items()
    }


def _factory(name: str, create: Any, module: ModuleType, path: Path) -> FoundStrategy:
    given = getattr(module, "PARAMETERS", None)
    return FoundStrategy(
        _short(name) or path.stem,
        name,
        "create",
        create,
        _as_declared(given) if isinstance(given, Mapping) else None,
        _line(create),
    )


def _class(name: str, cls: type) -> FoundStrategy:
    made = completed(cls) if is_older(cls) else cls

    def create(parameters: Mapping[str, Any]) -> Any:
        return made(**parameters)

    return FoundStrategy(cls.__name__, name, "class", create, _keywords(cls), _line(cls))


def _keywords(cls: type) -> dict[str, Parameter] | None:
    """Return what the constructor takes by keyword; None where it takes anything (`**kwargs`)."""
    found: dict[str, Parameter] = {}
    for parameter in inspect.signature(cls).parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            return None
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            missing = parameter.default is parameter.empty
            found[parameter.name] = Parameter("any", REQUIRED if missing else parameter.default)
    return found


def _line(thing: Any) -> int:
    try:
        return max(1, inspect.getsourcelines(thing)[1])
    except (OSError, TypeError):
        return 1
