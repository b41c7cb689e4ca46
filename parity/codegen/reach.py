"""What a kernel step reaches, as one piece of self-contained source text.

The text holds the step, every helper it calls through globals, closures and module attributes,
and every constant they read, so a driver built from it never imports a user's module: a step from
a file loaded by path or a notebook cell works like any other, the text's hash is the whole key,
and a run can keep it. What cannot be written down exactly is refused by name; nothing here guesses.
"""

from __future__ import annotations
import __future__

import ast
import builtins
import inspect
import math
import textwrap
import types
from collections.abc import Callable, Iterator
from typing import Any, Final, NoReturn

import numpy as np

from parity.model.errors import KernelError

_MODULES: Final = {"math": math, "numpy": np}
_ARRAY_ITEMS_MAX: Final = 4096
# Options of a user's own njit that change neither bits nor meaning; the driver uses its own.
_HARMLESS: Final = frozenset({"nopython", "nogil", "cache", "inline", "boundscheck"})
_FUTURES: Final = sum({getattr(__future__, n).compiler_flag for n in __future__.all_feature_names})
_REFUSED_SYNTAX: Final[tuple[type[ast.AST], ...]] = (
    ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp, ast.ClassDef,
    ast.Import, ast.ImportFrom, ast.Global, ast.Nonlocal, ast.Await, ast.Yield, ast.YieldFrom,
    ast.Try, ast.With,
)  # fmt: skip


def reach(step: Callable[..., Any]) -> tuple[str, str]:
    """Return (source text, the step's name in it).

    Raises:
        KernelError: the step reaches something that cannot be written down exactly, or its source
            text is not the code that is loaded.
    """
    collector = _Collector()
    name = collector.function(step, _title(step))
    return collector.text(), name


def python_function(function: Any) -> types.FunctionType:
    """Return the plain function of a function or of an njit dispatcher, options checked."""
    inner: Any = getattr(function, "py_func", function)
    if not isinstance(inner, types.FunctionType):
        _refuse(_title(function), f"is a {type(function).__name__}", "make it a plain function")
    options = dict(getattr(function, "targetoptions", {}))
    for option, value in options.items():
        if option not in _HARMLESS and value not in (None, False):
            _refuse(
                _title(inner),
                f"is compiled with {option}={value!r}",
                "take the option away: drivers are built with parity's own, never fastmath",
            )
    plain: types.FunctionType = inner
    return plain


def _title(function: Any) -> str:
    name = getattr(function, "__qualname__", None) or repr(function)
    return f"{getattr(function, '__module__', '?')}.{name}"


def _refuse(where: str, what: str, cure: str) -> NoReturn:
    raise KernelError(f"kernel code {where} {what}", cure=cure)


class _Collector:
    """Writes each reached object once, under a name of its own (`scale__1`)."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._functions: list[str] = []
        self._names: dict[object, str] = {}
        self._taken: dict[str, int] = {}

    def text(self) -> str:
        return "\n".join([*self._lines, "", *self._functions])

    def function(self, function: Any, where: str) -> str:
        """Write a function and what it reaches; return its name in the text."""
        plain = python_function(function)
        if plain in self._names:
            return self._names[plain]
        name = self._names[plain] = self._name(plain.__name__)
        tree = loaded_source(plain, where)
        tree.name = name
        self._clean(tree, plain, where)
        _Rename(plain, self, where).visit(tree)
        self._functions.append(f"@_njit(**_OPTIONS)\n{ast.unparse(tree)}\n")
        return name

    def value(self, name: str, value: Any, where: str) -> str:
        """Write a constant, module, type or function found under `name`; return its new name."""
        if isinstance(value, types.ModuleType):
            if _MODULES.get(value.__name__) is value:
                return self._line(name, f"import {value.__name__} as ", "")
            _refuse(where, f"uses module {value.__name__!r} itself", "call its functions by name")
        if isinstance(value, types.FunctionType) or hasattr(value, "py_func"):
            found = _numpy_name(value)
            if found is None:
                return self.function(value, _title(value))
            return self._line(name, "", f" = _np.{found}")
        text = constant_text(value)
        if text is None:
            _refuse(
                where,
                f"reaches {name!r}, a {type(value).__name__}, which cannot be hashed",
                "make it a number, a tuple, a small numpy array, or a parameter of the kernel",
            )
        return self._line(name, "", f" = {text}")

    def _line(self, name: str, before: str, after: str) -> str:
        new = self._names.get((name, before, after))
        if new is None:
            new = self._names[name, before, after] = self._name(name)
            self._lines.append(f"{before}{new}{after}")
        return new

    def _name(self, name: str) -> str:
        self._taken[name] = self._taken.get(name, 0) + 1
        return f"{name}__{self._taken[name]}"

    def _clean(self, tree: ast.FunctionDef, plain: types.FunctionType, where: str) -> None:
        # Comments, decorators, annotations and docstrings change no bit, so they enter no key.
        for node in ast.walk(tree):
            if isinstance(node, _REFUSED_SYNTAX) or (
                node is not tree and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            ):
                kind = type(node).__name__
                line = plain.__code__.co_firstlineno + getattr(node, "lineno", 1) - 1
                _refuse(where, f"line {line} holds a {kind}", "write it as a plain loop or helper")
        tree.decorator_list, tree.returns = [], None
        if ast.get_docstring(tree, clean=False) is not None:
            tree.body = tree.body[1:] or [ast.Pass()]
        arguments = tree.args
        if arguments.vararg or arguments.kwarg or arguments.kwonlyargs:
            _refuse(where, "takes *args, **kwargs or keyword-only parameters", "name each one")
        for argument in (*arguments.posonlyargs, *arguments.args):
            argument.annotation = None
        arguments.defaults = [
            ast.Name(self.value("default", value, where)) for value in plain.__defaults__ or ()
        ]


class _Rename(ast.NodeTransformer):
    """Replaces what a function reads from outside by its name in the text."""

    def __init__(self, plain: types.FunctionType, collector: _Collector, where: str) -> None:
        code = plain.__code__
        self._locals = {*code.co_varnames, *code.co_cellvars}
        self._cells = dict(zip(code.co_freevars, plain.__closure__ or (), strict=True))
        self._globals = plain.__globals__
        self._collector = collector
        self._where = where

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        if node.value is None:
            return ast.Pass()
        return self.generic_visit(ast.Assign([node.target], node.value, lineno=0))

    def visit_arguments(self, node: ast.arguments) -> ast.AST:
        return node  # defaults were written from their values

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        base = self._static(node.value)
        if isinstance(base, types.ModuleType) and base.__name__.startswith("numpy."):
            _refuse(self._where, f"reaches {base.__name__}", "its bits or its state are not ours")
        if isinstance(base, types.ModuleType) and _MODULES.get(base.__name__) is not base:
            if not hasattr(base, node.attr):
                self._unknown(f"{base.__name__}.{node.attr}")
            return self._replace(node, node.attr, getattr(base, node.attr))
        return self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> ast.AST:
        if node.id in self._locals:
            return node
        known, value = self._outside(node.id)
        if not known:
            self._unknown(node.id)
        if getattr(builtins, node.id, None) is value and value is not None:
            return node
        return self._replace(node, node.id, value)

    def _replace(self, node: ast.Name | ast.Attribute, name: str, value: Any) -> ast.AST:
        new = self._collector.value(name, value, self._where)
        if new in self._locals:
            _refuse(self._where, f"has a local named {new!r}", "rename it: generated names end so")
        return ast.Name(new, node.ctx)

    def _static(self, node: ast.AST) -> Any:
        """Return the module an expression names, or None."""
        if isinstance(node, ast.Name) and node.id not in self._locals:
            return self._outside(node.id)[1]
        if isinstance(node, ast.Attribute):
            base = self._static(node.value)
            return getattr(base, node.attr, None) if isinstance(base, types.ModuleType) else None
        return None

    def _outside(self, name: str) -> tuple[bool, Any]:
        cell = self._cells.get(name)
        if cell is not None:
            return True, cell.cell_contents
        if name in self._globals:
            return True, self._globals[name]
        return hasattr(builtins, name), getattr(builtins, name, None)

    def _unknown(self, name: str) -> NoReturn:
        _refuse(self._where, f"reaches {name!r}, which is not defined", "define it, or import it")


def loaded_source(function: types.FunctionType, where: str) -> ast.FunctionDef:
    """Return the function's parsed source, checked to be the code that is loaded.

    Raises:
        KernelError: no source to be had, or it was edited since it was loaded.
    """
    if hasattr(function, "__wrapped__"):
        _refuse(where, "is wrapped by a decorator", "call the plain function")
    try:
        source = textwrap.dedent(inspect.getsource(function))
        module = ast.parse(source)
    except (OSError, SyntaxError, TypeError):
        _refuse(where, "has no source text to be had", "put it in a file or a notebook cell")
    tree = module.body[0]
    if not isinstance(tree, ast.FunctionDef):
        _refuse(where, "is not written with def", "write it as a plain function")
    _check_loaded(function, source, where)
    return tree


def _check_loaded(function: types.FunctionType, source: str, where: str) -> None:
    # inspect reads the file as it is now; the code in memory may be older. What `module.f(x)`
    # compiles to depends on the imports around it, so the function is compiled where it stands,
    # too; a notebook compiles each statement alone.
    flags = function.__code__.co_flags & _FUTURES
    free = " = ".join(function.__code__.co_freevars)
    if free:
        source = f"def _around():\n  {free} = None\n" + textwrap.indent(source, "  ")
    whole = "".join(inspect.findsource(function)[0])
    line = function.__code__.co_firstlineno
    for text, lines in ((source, None), (whole, line)):
        try:
            compiled = compile(text, "<source>", "exec", flags=flags, dont_inherit=True)
        except SyntaxError:  # a cell with lines for the notebook itself
            continue
        for code in _inside(compiled):
            here = lines is None or code.co_firstlineno == lines
            if here and _shape(code) == _shape(function.__code__):
                return
    _refuse(where, "was edited since it was loaded", "import it again, then build the driver")


def _inside(code: types.CodeType) -> Iterator[types.CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield constant
            yield from _inside(constant)


def _shape(code: types.CodeType) -> tuple[Any, ...]:
    constants = tuple(_shape(c) if isinstance(c, types.CodeType) else c for c in code.co_consts)
    names = (code.co_name, code.co_names, code.co_varnames, set(code.co_freevars))
    return code.co_code, repr(constants), names


def _numpy_name(value: Any) -> str | None:
    """Return the name of a function or scalar type that numpy exports, or None."""
    name = str(getattr(value, "__name__", ""))
    return name if name and getattr(np, name, None) is value else None


def constant_text(value: Any) -> str | None:
    """Return an expression that makes exactly this constant, or None where there is none.

    >>> constant_text((1, 0.1)), constant_text(float("inf")), constant_text(np.int8(3))
    ('(1, 0.1,)', "float('inf')", '_np.int8(3)')
    """
    if value is None or type(value) in (bool, int, str):
        return repr(value)
    if type(value) is float:
        return repr(value) if math.isfinite(value) else f"float({str(value)!r})"
    if isinstance(value, np.generic):
        inner = constant_text(value.item())
        simple = value.dtype.kind in "biuf" and inner is not None
        return f"_np.{value.dtype.name}({inner})" if simple else None
    if type(value) is tuple:
        parts = [constant_text(v) for v in value]
        return None if None in parts else f"({''.join(f'{p}, ' for p in parts).rstrip()})"
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        if value.size > _ARRAY_ITEMS_MAX:
            return None
        items = ", ".join(str(constant_text(v)) for v in value.ravel().tolist())
        return f"_np.array([{items}], {value.dtype.str!r}).reshape({value.shape})"
    if (found := _numpy_name(value)) is not None:
        return f"_np.{found}"
    name = str(getattr(value, "__name__", ""))
    for module, alias in ((math, "_math"), (builtins, "_builtins")):
        if name and getattr(module, name, None) is value:
            return f"{alias}.{name}"
    return None
