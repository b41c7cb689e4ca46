"""Static lint of a strategy's source: the ways in which two runs of it could differ.

It reads the text and never runs it. Imports are followed through their aliases (`import numpy as
np` … `np.random`); what is reached through getattr, exec or a variable is not seen. Errors are uses
that break replay; warnings are shapes that often do. The replay itself is the proof, this only
finds the cause sooner.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

# Longest prefix of a dotted name wins; the value is (rule, what it does), or None where it is fine.
_CLOCK = ("clock", "reads a clock")
_RANDOM = ("random", "draws from outside the run's seed")
_ENVIRONMENT = ("environment", "reads the machine's environment")
_IO = ("io", "reads or writes outside the journal")
_NETWORK = ("network", "talks to the network")
_CONCURRENCY = ("concurrency", "runs in an order of its own")
_PROCESS = ("process", "starts or asks the operating system")
_DYNAMIC = ("dynamic", "runs what this lint cannot read")
_FORBIDDEN: Final[dict[str, tuple[str, str] | None]] = {
    "time": _CLOCK, "time.struct_time": None, "time.strptime": None, "time.strftime": _CLOCK,
    "datetime.datetime.now": _CLOCK, "datetime.datetime.utcnow": _CLOCK,
    "datetime.datetime.today": _CLOCK, "datetime.date.today": _CLOCK,
    "pandas.Timestamp.now": _CLOCK, "pandas.Timestamp.utcnow": _CLOCK,
    "pandas.Timestamp.today": _CLOCK, "pendulum.now": _CLOCK, "arrow.now": _CLOCK,
    "arrow.utcnow": _CLOCK, "numpy.datetime64": None,
    "random": _RANDOM, "numpy.random": _RANDOM, "secrets": _RANDOM, "uuid": _RANDOM,
    "uuid.UUID": None, "uuid.uuid3": None, "uuid.uuid5": None, "os.urandom": _RANDOM,
    "os.getrandom": _RANDOM, "torch.rand": _RANDOM, "torch.randn": _RANDOM,
    "os": _PROCESS, "os.path": None, "os.PathLike": None, "os.fspath": None, "os.sep": None,
    "os.path.exists": _IO, "os.path.getmtime": _IO, "os.path.getsize": _IO, "os.path.isfile": _IO,
    "os.path.expanduser": _ENVIRONMENT, "os.path.expandvars": _ENVIRONMENT,
    "os.environ": _ENVIRONMENT, "os.environb": _ENVIRONMENT, "os.getenv": _ENVIRONMENT,
    "os.open": _IO, "os.read": _IO, "os.write": _IO, "os.listdir": _IO, "os.scandir": _IO,
    "os.walk": _IO, "os.stat": _IO, "platform": _ENVIRONMENT, "locale": _ENVIRONMENT,
    "getpass": _ENVIRONMENT, "dotenv": _ENVIRONMENT,
    "open": _IO, "input": _IO, "io.open": _IO, "io.FileIO": _IO, "pathlib.Path": _IO,
    "shutil": _IO, "tempfile": _IO, "sqlite3": _IO, "shelve": _IO, "glob": _IO, "fileinput": _IO,
    "duckdb": _IO, "redis": _NETWORK, "psycopg": _NETWORK, "sqlalchemy": _IO,
    "pandas.read_csv": _IO, "pandas.read_parquet": _IO, "polars.read_csv": _IO,
    "polars.read_parquet": _IO, "polars.scan_parquet": _IO, "numpy.load": _IO, "numpy.loadtxt": _IO,
    "numpy.fromfile": _IO, "numpy.memmap": _IO, "joblib": _IO,
    "pickle.load": _IO, "onnxruntime": _IO,
    "socket": _NETWORK, "ssl": _NETWORK, "urllib": _NETWORK, "urllib.parse": None,
    "http": _NETWORK, "ftplib": _NETWORK, "smtplib": _NETWORK, "requests": _NETWORK,
    "httpx": _NETWORK, "aiohttp": _NETWORK, "websockets": _NETWORK, "confluent_kafka": _NETWORK,
    "threading": _CONCURRENCY, "_thread": _CONCURRENCY, "multiprocessing": _CONCURRENCY,
    "concurrent": _CONCURRENCY, "asyncio": _CONCURRENCY, "queue": _CONCURRENCY,
    "sched": _CONCURRENCY, "signal": _CONCURRENCY, "trio": _CONCURRENCY, "anyio": _CONCURRENCY,
    "gc": _PROCESS, "weakref": _PROCESS, "subprocess": _PROCESS, "ctypes": _PROCESS,
    "exec": _DYNAMIC, "eval": _DYNAMIC, "compile": _DYNAMIC, "__import__": _DYNAMIC,
    "importlib": _DYNAMIC,
}  # fmt: skip
_CURES: Final[dict[str, str]] = {
    "clock": "use tick.ts_event (int ns) or tick.timestamp",
    "random": "take a third parameter named rng in process_tick: it is seeded per tick",
    "environment": "make it a parameter of the strategy",
    "io": "pass values as parameters; models come by model_path",
    "network": "let it enter as an event, so that it is in the journal",
    "concurrency": "do the work inside process_tick; executors run one after another",
    "process": "keep it out of the strategy",
    "dynamic": "import it, or call it by its name",
    "global-state": "keep it in self, per instrument, with snapshot() and restore()",
    "hash-order": "sort first: sorted(…), or keep a dict, which has insertion order",
    "identity": "compare values; hash(text) and id() differ from process to process",
    "time-zone": "give tz=datetime.UTC",
    "shared-default": "use None, and make it inside",
    "syntax": "mend the line",
}
# Modules with honest parts: importing them is fine, each use is judged.
_MIXED: Final = {"os", "gc", "weakref", "importlib", "http", "urllib", "uuid"}
# Calls that are wrong on any object, because the names can hardly mean anything else.
_METHODS: Final[dict[str, tuple[str, str]]] = {
    "utcnow": _CLOCK, "read_text": _IO, "read_bytes": _IO, "write_text": _IO, "write_bytes": _IO,
}  # fmt: skip
_SET_METHODS: Final = {"union", "intersection", "difference", "symmetric_difference"}
_ORDER_TAKERS: Final = {"list", "tuple", "enumerate", "iter", "zip", "map", "filter", "sum", "next"}
_MUTABLE: Final = (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp)
_MUTABLE_CALLS: Final = {
    "list", "dict", "set", "bytearray", "collections.deque", "collections.defaultdict",
    "collections.Counter", "collections.OrderedDict",
}  # fmt: skip
_MUTATORS: Final = {
    "append", "appendleft", "add", "update", "extend", "insert", "pop", "popleft", "popitem",
    "remove", "discard", "clear", "setdefault",
}  # fmt: skip
_ALLOWED = re.compile(r"#\s*parity:\s*allow\s+([\w-]+)\s+\S")


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One use that could make two runs differ."""

    file: str
    line: int
    column: int
    rule: str
    message: str
    cure: str
    severity: str = "error"  # or "warning"

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.rule}: {self.message}; {self.cure}"


def lint_source(text: str, filename: str) -> list[Finding]:
    r"""Return what in a strategy's source could make two runs differ, in line order.

    A line that ends with ``# parity: allow RULE reason`` is left out for that rule.

    >>> [str(f) for f in lint_source("import time\n", "s.py")]
    ['s.py:1:1: clock: time reads a clock; use tick.ts_event (int ns) or tick.timestamp']
    """
    try:
        tree = ast.parse(text, filename)
    except (SyntaxError, ValueError) as error:
        line, column = getattr(error, "lineno", None) or 1, getattr(error, "offset", None) or 1
        message = f"not valid Python: {getattr(error, 'msg', error)}"
        return [Finding(filename, line, column, "syntax", message, _CURES["syntax"])]
    lint = _Lint(filename, tree)
    lint.visit(tree)
    lines = text.splitlines()
    return sorted({f for f in lint.findings if not _allowed(lines, f)})


def _allowed(lines: list[str], finding: Finding) -> bool:
    line = lines[finding.line - 1] if finding.line <= len(lines) else ""
    return any(match.group(1) == finding.rule for match in _ALLOWED.finditer(line))


def _verdict(dotted: str) -> tuple[str, str] | None:
    parts = dotted.split(".")
    for length in range(len(parts), 0, -1):
        prefix = ".".join(parts[:length])
        if prefix in _FORBIDDEN:
            return _FORBIDDEN[prefix]
    return None


class _Lint(ast.NodeVisitor):
    """Walks one module; names resolve through its imports."""

    def __init__(self, filename: str, tree: ast.Module) -> None:
        self._file = filename
        self._names: dict[str, str] = {}
        self._local: set[str] = set(_assigned(tree))
        self._globals = _mutable_globals(tree)
        self._sets = _set_names(tree)
        self._depth = 0
        self._annotations = 0
        self.findings: list[Finding] = []

    def _add(self, node: ast.AST, rule: str, message: str, severity: str = "error") -> None:
        line, column = getattr(node, "lineno", 1), getattr(node, "col_offset", 0) + 1
        self.findings.append(
            Finding(self._file, line, column, rule, message, _CURES[rule], severity)
        )

    # ---- names ---------------------------------------------------------------------------

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self._names[alias.asname or alias.name.split(".")[0]] = (
                alias.name if alias.asname else alias.name.split(".")[0]
            )
            self._judge(node, alias.name, imported=True)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        if node.level:  # a sibling: linted as a file of its own
            return
        for alias in node.names:
            dotted = f"{node.module}.{alias.name}"
            self._names[alias.asname or alias.name] = dotted
            if alias.name == "*":
                self._judge(node, str(node.module), imported=True)
            else:
                self._judge(node, dotted, imported=True)

    def _judge(self, node: ast.AST, dotted: str, *, imported: bool = False) -> None:
        if imported and dotted in _MIXED:
            return
        found = _verdict(dotted)
        if found is not None:
            self._add(node, found[0], f"{dotted} {found[1]}")

    def _dotted(self, node: ast.AST) -> str | None:
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name):
            return None
        head = self._names.get(node.id)
        if head is None:
            if node.id in self._local or parts:
                return None
            head = node.id  # a builtin
        return ".".join([head, *reversed(parts)])

    def visit_Attribute(self, node: ast.Attribute) -> None:
        dotted = self._dotted(node)
        if dotted is None or self._annotations:
            self.generic_visit(node)
        else:
            self._judge(node, dotted)

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load) and not self._annotations:
            dotted = self._dotted(node)
            if dotted is not None and dotted not in self._names:
                self._judge(node, dotted)

    # ---- calls ---------------------------------------------------------------------------

    def visit_Call(self, node: ast.Call) -> None:
        name = self._dotted(node.func)
        if name in ("hash", "id"):
            self._add(node, "identity", f"{name}() differs between processes", "warning")
        if name == "datetime.datetime.fromtimestamp" and len(node.args) + len(node.keywords) < 2:
            self._add(node, "time-zone", f"{name}(…) uses the machine's time zone")
        if isinstance(node.func, ast.Attribute) and name is None:
            self._check_method(node, node.func)
        if name in _ORDER_TAKERS:
            self._check_order(node.args, f"{name}() of a set goes in hash order")
        self._check_global_mutation(node)
        self.generic_visit(node)

    def _check_method(self, node: ast.Call, func: ast.Attribute) -> None:
        if func.attr in _METHODS:
            rule, what = _METHODS[func.attr]
            self._add(node, rule, f".{func.attr}() {what}")
        elif func.attr == "astimezone" and not node.args and not node.keywords:
            self._add(node, "time-zone", ".astimezone() uses the machine's time zone")
        elif func.attr == "pop" and not node.args:
            self._check_order([func.value], "a set gives its items in hash order")
        elif func.attr == "join":
            self._check_order(node.args, "joins a set in hash order")

    def _check_order(self, nodes: Iterable[ast.AST], message: str) -> None:
        for node in nodes:
            if self._is_set(node):
                self._add(node, "hash-order", message, "warning")

    def _check_global_mutation(self, node: ast.Call) -> None:
        func = node.func
        if (
            self._depth
            and isinstance(func, ast.Attribute)
            and func.attr in _MUTATORS
            and isinstance(func.value, ast.Name)
            and func.value.id in self._globals
        ):
            self._add(node, "global-state", f"{func.value.id} is shared by all executors", "error")

    # ---- state ---------------------------------------------------------------------------

    def visit_Global(self, node: ast.Global) -> None:
        names = ", ".join(node.names)
        self._add(node, "global-state", f"global {names} is shared by all executors", "error")

    def visit_Subscript(self, node: ast.Subscript) -> None:
        name = _spelled(node.value)
        if isinstance(node.ctx, ast.Store | ast.Del) and self._depth and name in self._globals:
            self._add(node, "global-state", f"{name} is shared by all executors", "error")
        self.generic_visit(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        # a Struct's or a model's default is copied for each object
        copied = any(ast.unparse(b).endswith(("Struct", "BaseModel")) for b in node.bases)
        for statement in [] if copied else node.body:
            value = getattr(statement, "value", None)
            if isinstance(statement, ast.Assign | ast.AnnAssign) and self._is_mutable(value):
                self._add(
                    statement,
                    "global-state",
                    f"a mutable class attribute of {node.name} is shared by all executors",
                    "warning",
                )
        self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._add(node, "concurrency", f"async def {node.name} {_CONCURRENCY[1]}")
        self._function(node)

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        for default in [*node.args.defaults, *node.args.kw_defaults]:
            if default is not None and self._is_mutable(default):
                self._add(
                    default,
                    "shared-default",
                    f"a default of {node.name} is shared by all calls",
                    "warning",
                )
        self._depth += 1
        self.generic_visit(node)
        self._depth -= 1

    def _is_mutable(self, node: ast.AST | None) -> bool:
        if isinstance(node, ast.Call):
            return self._dotted(node.func) in _MUTABLE_CALLS
        return isinstance(node, _MUTABLE)

    def visit_arg(self, node: ast.arg) -> None:
        self._annotation(node.annotation)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self._annotation(node.annotation)
        self.visit(node.target)
        if node.value is not None:
            self.visit(node.value)

    def _annotation(self, node: ast.AST | None) -> None:
        if node is not None:  # naming a type is not using it
            self._annotations += 1
            self.visit(node)
            self._annotations -= 1

    # ---- sets ----------------------------------------------------------------------------

    def visit_For(self, node: ast.For) -> None:
        self._iterates(node.iter)
        self.generic_visit(node)

    def visit_comprehension(self, node: ast.comprehension) -> None:
        self._iterates(node.iter)
        self.generic_visit(node)

    def visit_Starred(self, node: ast.Starred) -> None:
        self._iterates(node.value)
        self.generic_visit(node)

    def _iterates(self, node: ast.AST) -> None:
        self._check_order([node], "iterates a set, which goes in hash order")

    def _is_set(self, node: ast.AST) -> bool:
        if isinstance(node, ast.Set | ast.SetComp):
            return True
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Attribute) and node.func.attr in _SET_METHODS:
                return self._is_set(node.func.value)
            return self._dotted(node.func) in ("set", "frozenset")
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr | ast.BitAnd | ast.Sub):
            return self._is_set(node.left)
        return _spelled(node) in self._sets


def _assigned(tree: ast.AST) -> Iterator[str]:
    """Yield every name the module binds itself, so that its own `open` is not the builtin."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.arg):
            yield node.arg


def _mutable_globals(tree: ast.Module) -> set[str]:
    names: set[str] = set()
    for statement in tree.body:
        if isinstance(statement, ast.Assign):
            targets, value = statement.targets, statement.value
        elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
            targets, value = [statement.target], statement.value
        else:
            continue
        if isinstance(value, (*_MUTABLE, ast.Call)):
            names.update(t.id for t in targets if isinstance(t, ast.Name))
    return names


def _spelled(node: ast.AST) -> str | None:
    """Return `name` or `self.name` as text, or None for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return f"{node.value.id}.{node.attr}" if node.value.id == "self" else None
    return None


def _set_names(tree: ast.AST) -> set[str]:
    """Return the names that are only ever given sets (by literal, call or annotation)."""
    sets: set[str] = set()
    others: set[str] = set()
    for node in ast.walk(tree):
        if not isinstance(node, ast.Assign | ast.AnnAssign):
            continue
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        annotation = node.annotation if isinstance(node, ast.AnnAssign) else None
        value = node.value
        said = ast.unparse(annotation).split("[")[0] if annotation is not None else ""
        called = isinstance(value, ast.Call) and _spelled(value.func) in ("set", "frozenset")
        is_set = isinstance(value, ast.Set | ast.SetComp) or called or said in ("set", "frozenset")
        for name in filter(None, map(_spelled, targets)):
            (sets if is_set else others).add(name)
    return sets - others
