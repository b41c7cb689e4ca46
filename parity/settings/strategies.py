"""`--strategies` and `--set`: files become strategies, checked whole before anything starts.

A source is a YAML file, a JSON array of `strategy_configurations` rows, a Python file, a folder of
these, or the name of a shipped strategy. Types come from the registry and from Python files named
by the user; a row can never name a module to import.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from parity.model.errors import ConfigError, ParityError, did_you_mean
from parity.model.kernel import KernelStrategy
from parity.model.parameters import Parameter, complete_parameters, is_plain, shown
from parity.model.values import StrategyConfig
from parity.settings.document import Node, Place
from parity.settings.jsonrows import load_json
from parity.settings.pyfile import PROCESSOR_METHODS, FoundStrategy, PythonFile, load_python_file
from parity.settings.rows import Problem, Row, RowReader, check_risk, raise_problems
from parity.settings.yaml import load_yaml, parse_yaml

READERS: Final[dict[str, Callable[[Path], Node]]] = {
    ".yaml": load_yaml,
    ".yml": load_yaml,
    ".json": load_json,
}
# Keys inside `parameters` that belong to the executor, never to the factory.
EXECUTOR_KEYS: Final = ("risk", "validator")


@dataclass(frozen=True, slots=True)
class StrategyType:
    """What a `strategy_type` means: how to build it, and which parameters it declares."""

    name: str
    kind: str  # "builtin", or "function", "class", "create" of a Python file
    create: Callable[[Mapping[str, Any]], Any]
    declared: Mapping[str, Parameter] | None
    file: PythonFile | None = None
    line: int = 1


@dataclass(frozen=True, slots=True)
class StrategySpec:
    """One configured strategy, checked, and where it came from.

    Args:
        config: parameters completed by their defaults; `parameters["risk"]` where limits are set;
            empty instrument_tokens mean every instrument.
        place: the file and line that configures it.
        type: what builds it.
        folder: what a relative model path is looked for below, first.
    """

    config: StrategyConfig
    place: Place
    type: StrategyType
    folder: Path

    @property
    def strategy_id(self) -> str:
        """The strategy's id."""
        return self.config.strategy_id

    @property
    def where(self) -> str:
        """The file and line, for messages and manifests."""
        return f"{self.place.file}:{self.place.line}"

    @property
    def parameters(self) -> dict[str, Any]:
        """The strategy's own parameters: what the factory gets."""
        return _own(self.config.parameters)

    def build(self) -> Any:
        """Return a new processor or KernelStrategy; raises ConfigError naming the strategy."""
        try:
            built = self.type.create(self.parameters)
        except ParityError as error:
            raise ConfigError(f"{self.where}: {error.message}", cure=error.cure) from error
        except Exception as error:  # whatever a user's factory does wrong is a configuration error
            raise ConfigError(
                f"{self.where}: {self.type.name} could not be built: "
                f"{type(error).__name__}: {error}",
                cure=f"parameters were {shown(str(self.parameters))}",
            ) from error
        lacking = [m for m in PROCESSOR_METHODS if not callable(getattr(built, m, None))]
        if lacking and not isinstance(built, KernelStrategy):
            raise ConfigError(
                f"{self.where}: {self.type.name} built a {type(built).__name__} without "
                f"{', '.join(lacking)}",
                cure="return a processor (those four methods) or a KernelStrategy",
            )
        return built


@dataclass(slots=True)
class _Draft:
    """A strategy before its parameters are checked; `--set` writes into `given`."""

    config: StrategyConfig
    given: dict[str, Any]
    node: Node  # where parameters stand
    type: StrategyType
    folder: Path
    set_by: dict[str, str]


def load_strategies(
    sources: Sequence[Path | str], overrides: Sequence[str] = ()
) -> list[StrategySpec]:
    """Read every source and return its strategies, in order, disabled ones included.

    A strategy of a Python file runs on every instrument with its defaults, unless a row of the
    same call names it as its strategy_type.

    Args:
        sources: files, folders, or names of shipped strategies.
        overrides: `--set` texts, see apply_overrides.

    Raises:
        ConfigError: naming everything that is wrong, each with file, line, key, value and cure.
    """
    if not sources:
        raise ConfigError("no strategies given", cure="name a file or folder: --strategies FILE")
    files: list[Path] = []
    names: list[str] = []
    for source in sources:
        _expand(source, files, names)
    python = _load_python(files, {Path(s) for s in sources})
    types = _types(python)
    drafts: list[_Draft] = [_bare(types[name], name) for name in names]
    problems: list[Problem] = []
    for file in files:
        if file.suffix in READERS:
            drafts += _read_rows(file, types, problems)
    raise_problems(problems)
    named = {id(draft.type) for draft in drafts}
    for path, loaded in python.items():
        own = [t for key, t in types.items() if t.file is loaded and ":" in key]
        drafts += [_bare(t, str(path)) for t in own if id(t) not in named]
    _refuse_duplicates(drafts)
    _override(drafts, overrides)
    return _finish_all(drafts)


def apply_overrides(specs: Sequence[StrategySpec], overrides: Sequence[str]) -> list[StrategySpec]:
    """Return the strategies with parameters replaced and checked again.

    Args:
        specs: what load_strategies returned.
        overrides: `id.parameter=value` for one strategy, `parameter=value` for each that has it;
            `risk.cooldown_sec=…` and `id.risk.cooldown_sec=…` reach the risk block.
    """
    drafts = [_draft_of(spec.config, spec.place, spec.type, spec.folder) for spec in specs]
    _override(drafts, overrides)
    return _finish_all(drafts)


def spec_of(config: StrategyConfig, files: Iterable[PythonFile] = ()) -> StrategySpec:
    """Return the spec of a configuration kept in a run's manifest, checked again.

    Args:
        config: as StrategySpec.config was.
        files: the Python files kept with the run, loaded.
    """
    types = _types({file.path: file for file in files})
    found = types.get(config.strategy_type)
    if found is None:
        raise ConfigError(
            f"strategy {config.strategy_id}: strategy_type {config.strategy_type!r} is unknown",
            cure=did_you_mean(config.strategy_type, types),
        )
    place = Place(f"strategy {config.strategy_id}", 1)
    return _finish_all([_draft_of(config, place, found, Path())])[0]


def _draft_of(config: StrategyConfig, place: Place, type_: StrategyType, folder: Path) -> _Draft:
    return _Draft(config, dict(config.parameters), Node(place, {}), type_, folder, {})


def _own(parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in parameters.items() if name not in EXECUTOR_KEYS}


# ---- sources -------------------------------------------------------------------------------


def _expand(source: Path | str, files: list[Path], names: list[str]) -> None:
    path = Path(source)
    if path.is_dir():
        inside = sorted(
            p
            for p in path.iterdir()
            if p.is_file()
            and (p.suffix in READERS or p.suffix == ".py")
            and not p.name.startswith(("_", "."))
        )
        if not inside:
            raise ConfigError(
                f"{path}: no strategy files", cure="put .yaml, .json or .py files into it"
            )
        files.extend(inside)
    elif path.is_file():
        if path.suffix not in READERS and path.suffix != ".py":
            raise ConfigError(
                f"{path}: not a strategy file", cure="give it the ending .yaml, .json or .py"
            )
        files.append(path)
    elif str(source) in _registry():
        names.append(str(source))
    else:
        near = [str(p) for p in path.parent.iterdir()] if path.parent.is_dir() else []
        known = [n for n in near if Path(n).suffix in (*READERS, ".py")]
        raise ConfigError(
            f"{path}: no such file, folder or shipped strategy",
            cure=did_you_mean(str(path), [*known, *_registry()]),
        )


def _registry() -> Mapping[str, Any]:
    from parity import strategies  # its kernels import numba: only when they are needed

    registry: Mapping[str, Any] = strategies.REGISTRY
    return registry


def _load_python(files: Sequence[Path], named: set[Path]) -> dict[Path, PythonFile]:
    loaded: dict[Path, PythonFile] = {}
    for file in files:
        if file.suffix != ".py":
            continue
        found = load_python_file(file, may_be_empty=file not in named)
        if found.strategies:  # in a folder, a file without strategies is someone's sibling
            loaded[file] = found
    return loaded


def _types(python: Mapping[Path, PythonFile]) -> dict[str, StrategyType]:
    types: dict[str, StrategyType] = {}
    for name, factory in _registry().items():
        declared = getattr(factory, "PARAMETERS", None)
        create = getattr(factory, "create", factory)
        types[name] = StrategyType(name, "builtin", create, declared)
    for path, file in python.items():
        for found in file.strategies:
            _add_python_type(types, path, file, found)
    return types


def _add_python_type(
    types: dict[str, StrategyType], path: Path, file: PythonFile, found: FoundStrategy
) -> None:
    name = f"{path.name}:{found.name}"  # its full name never meets a shipped strategy's
    if name in types:
        other = types[name].file
        raise ConfigError(
            f"{path}: {name} is also in {other.path if other else 'the registry'}",
            cure="rename one of the files",
        )
    made = StrategyType(name, found.kind, found.create, found.declared, file, found.line)
    types[name] = made
    if found.name not in types:
        types[found.name] = made


def _bare(type_: StrategyType, source: str) -> _Draft:
    # A strategy that no row configures: its defaults, on every instrument.
    config = StrategyConfig(
        strategy_id=type_.name.rpartition(":")[2], strategy_type=type_.name, parameters={}
    )
    folder = type_.file.path.parent if type_.file else Path()
    return _draft_of(config, Place(source, type_.line), type_, folder)


def _read_rows(
    file: Path, types: Mapping[str, StrategyType], problems: list[Problem]
) -> list[_Draft]:
    root = READERS[file.suffix](file)
    nodes, default_id = _row_nodes(root, file)
    drafts = []
    for node in nodes:
        if file.suffix == ".json" and _inactive(node):
            continue  # a table keeps old rows, whose types may be gone; only active ones are loaded
        reader = RowReader(node, default_id)
        row = reader.read()
        problems += reader.problems
        if row is None:
            continue
        found = types.get(row.strategy_type)
        if found is not None:
            drafts.append(_draft_of_row(row, node, found, file.parent))
            continue
        key = "strategy_type" if "strategy_type" in node.value else "strategy_class"
        cure = did_you_mean(row.strategy_type, types)
        message = f"unknown strategy {shown(row.strategy_type)}"
        problems.append(Problem(node.where((key,)), key, message, cure))
    return drafts


def _inactive(node: Node) -> bool:
    row = node.plain()
    return isinstance(row, dict) and (row.get("is_active") is False or row.get("enabled") is False)


def _draft_of_row(row: Row, node: Node, type_: StrategyType, folder: Path) -> _Draft:
    tokens = () if row.instrument_tokens == "all" else tuple(row.instrument_tokens)
    config = StrategyConfig(
        strategy_id=row.strategy_id,
        strategy_type=type_.name,
        active_brokers=row.active_brokers(),
        instrument_tokens=tokens,
        enabled=row.enabled,
        on=row.on,
    )
    return _Draft(config, dict(row.parameters), node, type_, folder, {})


def _row_nodes(root: Node, file: Path) -> tuple[list[Node], str | None]:
    value = root.value
    if isinstance(value, dict) and "strategies" in value:
        others = [key for key in value if key != "strategies"]
        if others:
            root.where((others[0],)).refuse(
                f"key {others[0]!r} beside strategies", "put it into the strategies it is meant for"
            )
        root = value["strategies"]
        value = root.value
        if not isinstance(value, list):
            root.place.refuse(f"strategies: expected a list, was {shown(root.plain())}")
    if isinstance(value, list):
        if not value:
            root.place.refuse("no strategies in the list", "add one")
        return value, None
    if not isinstance(value, dict):
        root.place.refuse(
            f"expected a strategy or a list of them, was {shown(root.plain())}",
            "see strategies/configs for examples",
        )
    return [root], file.stem


def _refuse_duplicates(drafts: Sequence[_Draft]) -> None:
    first: dict[str, _Draft] = {}
    problems = []
    for draft in drafts:
        name = draft.config.strategy_id
        other = first.setdefault(name, draft)
        if other is not draft:
            place = other.node.place
            problems.append(
                Problem(
                    draft.node.place,
                    "",
                    f"strategy {name!r} stands twice, first in {place.file}:{place.line}",
                    "give one of them another id",
                )
            )
    raise_problems(problems)


# ---- parameters ----------------------------------------------------------------------------


def _override(drafts: Sequence[_Draft], overrides: Sequence[str]) -> None:
    for text in overrides:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise ConfigError(
                f"--set {text}: expected [id.]parameter=value", cure="for example threshold=0.02"
            )
        targets, parameter = _targets(drafts, name.strip(), text)
        for draft in targets:
            _set(draft, parameter, value.strip(), text)


def _targets(drafts: Sequence[_Draft], name: str, text: str) -> tuple[list[_Draft], str]:
    # Ids may hold dots, so the longest id that fits is the one that is meant.
    ids = sorted((d for d in drafts if name.startswith(d.config.strategy_id + ".")),
                 key=lambda d: -len(d.config.strategy_id))  # fmt: skip
    if ids:
        return ids[:1], name[len(ids[0].config.strategy_id) + 1 :]
    head, dot, _ = name.partition(".")
    if dot and head != "risk":
        known = [d.config.strategy_id for d in drafts]
        raise ConfigError(f"--set {text}: no strategy {head!r}", cure=did_you_mean(head, known))
    if dot:
        return list(drafts), name
    having = [d for d in drafts if d.type.declared is not None and name in d.type.declared]
    having += [d for d in drafts if d.type.declared is None and name in d.given]
    if not having:
        parameters = {p for d in drafts for p in (*(d.type.declared or ()), *d.given)}
        raise ConfigError(
            f"--set {text}: no strategy has a parameter {name!r}",
            cure=did_you_mean(name, parameters) if parameters else "they have none",
        )
    return having, name


def _set(draft: _Draft, parameter: str, value: str, text: str) -> None:
    declared = (draft.type.declared or {}).get(parameter)
    if declared is not None and declared.kind in ("str", "path"):
        typed: Any = value
    else:
        typed = parse_yaml(value, f"--set {text}").plain()
    inner = parameter.removeprefix("risk.")
    if inner != parameter:
        risk = draft.given.get("risk")
        draft.given["risk"] = {**(risk if isinstance(risk, dict) else {}), inner: typed}
    else:
        draft.given[parameter] = typed
    draft.set_by[parameter] = f"--set {text}"


def _finish_all(drafts: Sequence[_Draft]) -> list[StrategySpec]:
    problems: list[Problem] = []
    specs = [_finish(draft, problems) for draft in drafts]
    raise_problems(problems)
    for spec in specs:
        if spec.config.enabled:
            spec.build()  # what a factory itself refuses is refused now, not at the first tick
    return specs


def _finish(draft: _Draft, problems: list[Problem]) -> StrategySpec:
    given = dict(draft.given)
    faults: list[tuple[str, str, str]] = []
    risk: dict[str, Any] | None = None
    if "risk" in given:
        risk, faults = check_risk(given.pop("risk"))
    if draft.type.declared is None:
        completed = given
        faults += [
            (name, f"expected a plain value, was {shown(value)}", "")
            for name, value in given.items()
            if not is_plain(value)
        ]
    else:
        completed, found = complete_parameters(draft.type.declared, given)
        faults += [(f.name, f.message, f.cure) for f in found]
    problems += [_problem(draft, *fault) for fault in faults]
    parameters = completed if risk is None else {**completed, "risk": risk}
    config = msgspec.structs.replace(draft.config, parameters=parameters)
    return StrategySpec(config, draft.node.place, draft.type, draft.folder)


def _problem(draft: _Draft, name: str, message: str, cure: str) -> Problem:
    if name in draft.set_by:
        return Problem(Place(draft.set_by[name], 0), f"parameters.{name}", message, cure)
    place = draft.node.where(("parameters", *name.split(".")))
    return Problem(place, f"parameters.{name}", message, cure)
