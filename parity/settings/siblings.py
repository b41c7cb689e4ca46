"""A user's file imports what lies beside it: its own siblings, whichever file was loaded since.

Files share `sys.modules`, and two folders may have a `helper.py` each. So every module of the
user's gets an import of its own before it runs, for a function takes its builtins when it is
defined: what it imports when it is called is what was loaded with its file. The text of a sibling
that runs is compiled here, never taken from a `.pyc`. `importlib.import_module`, called in
a function, passes all this by. Never here: what a strategy is.
"""

from __future__ import annotations

import ast
import builtins
import importlib
import importlib.util
import os
import sys
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from importlib.machinery import BuiltinImporter, FrozenImporter, ModuleSpec, PathFinder
from importlib.machinery import SourceFileLoader as _SourceFileLoader
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from types import ModuleType

# Modules that users' files brought in. They leave sys.modules before the next file loads, so that
# two projects with a `helpers.py` each get their own and an edited one is read again.
_borrowed: set[str] = set()
# What a `try` names that takes an import of what is not there. It may take more than that; a file
# that is there and fails is the user's to know of, and refused.
_TAKES: Final = {"ImportError", "ModuleNotFoundError", "Exception", "BaseException"}


class Siblings:
    """The modules that one file of a user's brings in.

    Args:
        folder: of the file.

    Attributes:
        own: these modules by name, once they are loaded.
        loaded: those that are text, with the text that ran, in the order in which they were run.
        builtins: what the file and each of them runs with.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.own: dict[str, ModuleType] = {}
        self.loaded: list[tuple[ModuleType, str]] = []
        self.builtins: dict[str, Any] = {**vars(builtins), "__import__": self._import}

    @contextmanager
    def loading(self) -> Iterator[None]:
        """Take every module that is imported meanwhile, and is the user's, as one of them.

        What the process imported itself, a notebook for one, is set aside: it may be of an equal
        name and of another folder, or of a text that was edited since.
        """
        for old in sorted(_borrowed):
            sys.modules.pop(old, None)
        _borrowed.clear()
        roots = (self.folder, Path.cwd())
        aside = _set_aside(roots)
        before, finder = set(sys.modules), _Finder(roots, self)
        added: dict[str, ModuleType] = {}
        sys.meta_path.insert(0, finder)
        try:
            with first_on_path(self.folder):
                try:
                    yield
                finally:  # on this path, by which a folder without __init__ says where it lies
                    names = sorted(set(sys.modules) - before)
                    added = {m: sys.modules[m] for m in names if _is_own(m, sys.modules[m], roots)}
        finally:
            sys.meta_path.remove(finder)
            there = {_top(name) for name in aside}
            for name in [name for name in sys.modules if _top(name) in there]:
                del sys.modules[name]
            sys.modules.update(aside)
            _borrowed.update(name for name in added if _top(name) not in there)
        self.own.update(added)

    def import_all(self, text: str) -> None:
        """Import what a file's functions import, and those of what it imported, in turn.

        It is a part of the strategy, too. What stands outside of functions was run, and imported
        what it was to import.
        """
        named, read = self._named(text, ""), 0
        while True:
            for name, guarded in named:
                with suppress(*[ImportError] * guarded):
                    importlib.import_module(name)
            if read == len(self.loaded):
                return
            module, source = self.loaded[read]
            named, read = self._named(source, module.__package__ or ""), read + 1

    def _named(self, text: str, package: str) -> list[tuple[str, bool]]:
        """Return the siblings that functions import, and whether a `try` takes an ImportError."""
        named: dict[str, bool] = {}
        for node, guarded in _inner_imports(ast.parse(text), inside=False, guarded=False):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif package or not node.level:
                base = "." * node.level + (node.module or "")
                try:
                    base = importlib.util.resolve_name(base, package)
                except ImportError:  # it climbs out of its own package
                    if not guarded:
                        raise
                    continue
                names = [base, *(f"{base}.{alias.name}" for alias in node.names)]
            named |= {name: guarded and named.get(name, True) for name in names}
        return [(name, named[name]) for name in sorted(named) if self._lies_here(name)]

    def _lies_here(self, name: str) -> bool:
        file = self.folder / name.replace(".", "/")
        if _top(name) in sys.stdlib_module_names:
            return False
        return file.with_suffix(".py").is_file() or (file / "__init__.py").is_file()

    def _import(
        self,
        name: str,
        globals: Mapping[str, Any] | None = None,
        locals: Mapping[str, Any] | None = None,
        fromlist: Sequence[str] = (),
        level: int = 0,
    ) -> ModuleType:
        asked = str((globals or {}).get("__package__") or "") if level else name
        if _top(asked) not in self.own:
            return builtins.__import__(name, globals, locals, fromlist, level)
        with in_place(self.own):
            return builtins.__import__(name, globals, locals, fromlist, level)


class _Finder:
    """Finds what Python's own finder finds, and lets the user's modules run with their import."""

    def __init__(self, roots: tuple[Path, ...], siblings: Siblings) -> None:
        self._roots = roots
        self._siblings = siblings

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        for first in (BuiltinImporter, FrozenImporter):  # which come before the path
            if first.find_spec(name, path, target) is not None:
                return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is None or type(spec.loader) is not _SourceFileLoader:
            return None
        file = spec.loader.path
        if not _is_users(name, Path(file), self._roots):
            return None
        spec.loader = _Loader(name, file, self._siblings)
        return spec


class _Loader(_SourceFileLoader):
    def __init__(self, name: str, path: str, siblings: Siblings) -> None:
        super().__init__(name, path)
        self._siblings = siblings

    def exec_module(self, module: ModuleType) -> None:
        module.__dict__["__builtins__"] = self._siblings.builtins
        data = self.get_data(self.path)
        exec(self.source_to_code(data, self.path), module.__dict__)
        self._siblings.loaded.append((module, importlib.util.decode_source(data)))


def _inner_imports(
    tree: ast.AST, *, inside: bool, guarded: bool
) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    """Yield the imports inside functions, and whether a `try` there takes an ImportError."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            if inside:
                yield node, guarded
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _inner_imports(node, inside=True, guarded=guarded)
        elif isinstance(node, ast.stmt | ast.excepthandler | ast.match_case):
            tried = guarded or (inside and _guards(node))
            yield from _inner_imports(node, inside=inside, guarded=tried)


def _guards(node: ast.AST) -> bool:
    """Say whether a statement takes the ImportError of what is not there."""
    if not isinstance(node, ast.Try | ast.TryStar):
        return False
    for taken in (handler.type for handler in node.handlers):
        each = taken.elts if isinstance(taken, ast.Tuple) else [taken]
        if any(one is None or ast.unparse(one).rpartition(".")[2] in _TAKES for one in each):
            return True
    return False


@contextmanager
def in_place(own: Mapping[str, ModuleType]) -> Iterator[None]:
    """Let imports find these modules, and afterwards what was there before."""
    before = {name: sys.modules.get(name) for name in own}
    sys.modules.update(own)
    try:
        yield
    finally:
        for name, module in before.items():
            if module is None:
                sys.modules.pop(name, None)
            else:
                sys.modules[name] = module


@contextmanager
def first_on_path(folder: Path) -> Iterator[None]:
    """Let imports look into a folder first."""
    # The working directory second: `python -m parity` has it on the path, the `parity` command not.
    kept = list(sys.path)
    sys.path[:0] = [str(folder), str(Path.cwd())]
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path[:] = kept


def _set_aside(roots: tuple[Path, ...]) -> dict[str, ModuleType]:
    """Take the modules that a file may find anew below these folders out of sys.modules."""
    listed = [os.listdir(root) for root in roots if os.access(root, os.R_OK)]
    seen = {_top(entry) for entries in listed for entry in entries}
    seen -= {"parity", *sys.stdlib_module_names}
    tops = {
        name
        for name in seen
        if not name.startswith("__") and name in sys.modules
        if (places := _places(sys.modules[name])) and not any(map(is_installed, places))
    }
    return {name: sys.modules.pop(name) for name in [*sys.modules] if _top(name) in tops}


def _top(name: str) -> str:
    return name.partition(".")[0]


def _places(module: ModuleType) -> list[Path]:
    """Return where a module lies; a folder without __init__ may lie in several places."""
    file = getattr(module, "__file__", None)
    found = [*getattr(module, "__path__", ())] if file is None else [file]
    return [Path(place).resolve() for place in found]


def _is_own(name: str, module: ModuleType, roots: tuple[Path, ...]) -> bool:
    places = _places(module)
    own = any(_is_users(name, place, roots) for place in places)
    return own and not any(map(is_installed, places))


def _is_users(name: str, file: Path, roots: tuple[Path, ...]) -> bool:
    if _top(name) == "parity":
        return False
    found = file.resolve()
    return not is_installed(found) and any(found.is_relative_to(root) for root in roots)


def is_installed(place: Path) -> bool:
    """Say whether a resolved path is part of Python or of an installed package."""
    return any(place.is_relative_to(folder) for folder in _installed_folders())


@cache
def _installed_folders() -> tuple[Path, ...]:
    # Python itself may lie below the working directory: a .venv, or ~/.pyenv in a home directory.
    paths = sysconfig.get_paths()
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    return tuple(Path(paths[name]).resolve() for name in names)
