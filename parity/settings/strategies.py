"""`--strategies` and `--set`: files become strategies, checked whole before anything starts.

A source is a YAML file, a JSON array of `strategy_configurations` rows, a Python file, a folder of
these, or the name of a shipped strategy. Types come from the registry and from Python files named
by the user; a row can never name a module to import.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from parity.model.errors import ConfigError, did_you_mean
from parity.model.parameters import shown
from parity.model.values import StrategyConfig
from parity.settings.document import Node, Place, node_of
from parity.settings.drafts import (
    Draft,
    StrategySpec,
    StrategyType,
    finish_all,
)
from parity.settings.entries import STRATEGIES, entry_names, load_entry
from parity.settings.jsonrows import load_json
from parity.settings.loaded import Invalid, Loaded
from parity.settings.overrides import Override, override
from parity.settings.pyfile import FoundStrategy, PythonFile, load_python_file, strategy_at
from parity.settings.rows import Problem, Row, RowReader, raise_problems
from parity.settings.validators import ValidatorType, registered
from parity.settings.yaml import load_yaml

__all__ = [
    "Loaded",
    "StrategySpec",
    "StrategyType",
    "apply_overrides",
    "load_rows",
    "load_strategies",
    "read_strategies",
    "spec_of",
]

READERS: Final[dict[str, Callable[[Path], Node]]] = {
    ".yaml": load_yaml,
    ".yml": load_yaml,
    ".json": load_json,
}


def load_strategies(
    sources: Sequence[Path | str],
    overrides: Sequence[Override] = (),
    *,
    skip_invalid: bool = False,
) -> list[StrategySpec]:
    """Read every source and return its strategies, in order, disabled ones included.

    Args:
        sources: as read_strategies takes them.
        overrides: `--set` texts, see Loaded.specs.
        skip_invalid: as read_strategies takes it.

    Raises:
        ConfigError: naming everything that is wrong, each with file, line, key, value and cure.
    """
    return read_strategies(sources, skip_invalid=skip_invalid).specs(overrides)


def read_strategies(
    sources: Sequence[Path | str],
    *,
    skip_invalid: bool = False,
    made: Sequence[StrategySpec] = (),
) -> Loaded:
    """Read every source once; what is set may then be tried over and over.

    A strategy of a Python file runs on every instrument with its defaults, unless a row of the
    same call names it as its strategy_type.

    Args:
        sources: files, folders, or names of shipped strategies.
        skip_invalid: give back an invalid row as a spec that is `refused`, behind the others,
            instead of refusing them all; one good row is needed.
        made: strategies that are no files, which come first.

    Raises:
        ConfigError: naming every file and row that cannot be read.
    """
    if not sources and not made:
        raise ConfigError("no strategies given", cure="name a file or folder: --strategies FILE")
    files: list[Path] = []
    names: list[str] = []
    for source in sources:
        _expand(source, files, names)
    python = _load_python(files, {Path(s) for s in sources})
    types = _Types(python)
    drafts = [Draft.of_spec(spec) for spec in made]
    drafts += [_bare(t, name) for name in names if (t := types.get(name)) is not None]
    invalid = Invalid(skip_invalid)
    for file in files:
        if file.suffix in READERS:
            drafts += _read_rows(file, types, invalid)
    invalid.settle(drafts)
    named = {draft.type.name for draft in drafts}
    for path, loaded in python.items():
        drafts += [_bare(t, str(path)) for t in types.of_file(loaded) if t.name not in named]
    _refuse_duplicates(drafts)
    return Loaded(drafts, invalid)


def load_rows(
    rows: Sequence[Mapping[str, Any]], sources: Sequence[Path | str] = ()
) -> list[StrategySpec]:
    """Return the strategies of rows that come from a caller, as from a table.

    Args:
        rows: mappings with the keys of a configuration.
        sources: Python files whose strategies the rows may name besides.

    Raises:
        ConfigError: as load_strategies.
    """
    files: list[Path] = []
    for source in sources:
        _expand(source, files, [])
    types = _Types(_load_python(files, {Path(s) for s in sources}))
    invalid = Invalid(False)
    drafts = []
    for number, row in enumerate(rows, 1):
        if not isinstance(row, Mapping):
            raise ConfigError(
                f"row {number}: expected a mapping with the keys of a configuration, was {row!r}",
                cure='for example {"id": "momo", "strategy_type": "momentum", "instruments": [1]}',
            )
        place = Place(f"row {row.get('id', row.get('strategy_name', number))}", 0)
        drafts += _read_nodes([node_of(row, place)], None, Path(), types, invalid)
    invalid.settle(drafts)
    _refuse_duplicates(drafts)
    return finish_all(drafts)


def apply_overrides(
    specs: Sequence[StrategySpec], overrides: Sequence[Override]
) -> list[StrategySpec]:
    """Return the strategies with parameters replaced and checked again.

    Args:
        specs: what load_strategies returned.
        overrides: as Loaded.specs takes them.
    """
    drafts = [Draft.of_spec(spec) for spec in specs if not spec.refused]
    override(drafts, overrides)
    return [*finish_all(drafts), *(s for s in specs if s.refused)]


def spec_of(
    config: StrategyConfig,
    files: Iterable[PythonFile] = (),
    *,
    validator: ValidatorType | None = None,
) -> StrategySpec:
    """Return the spec of a configuration kept in a run's manifest, checked again.

    Args:
        config: as StrategySpec.config was.
        files: the Python files kept with the run, loaded.
        validator: the one kept with the run; None is today's of the name in `config`.
    """
    types = _Types({file.path: file for file in files})
    found = types.get(config.strategy_type)
    if found is None:
        raise ConfigError(
            f"strategy {config.strategy_id}: strategy_type {config.strategy_type!r} is unknown",
            cure=did_you_mean(config.strategy_type, types.names()),
        )
    place = Place(f"strategy {config.strategy_id}", 1)
    draft = Draft.of(config, place, found, Path(), validator or registered(config.validator))
    draft.finished = True  # what a run was made with is not refused by its proof
    return finish_all([draft])[0]


# ---- sources -------------------------------------------------------------------------------


# How names of files in a folder begin that are passed over; `parity new` writes tests beside.
NO_STRATEGIES: Final = ("_", ".", "test_")


def _expand(source: Path | str, files: list[Path], names: list[str]) -> None:
    path = Path(source)
    if path.is_dir():
        inside = sorted(
            p
            for p in path.iterdir()
            if p.is_file()
            and (p.suffix in READERS or p.suffix == ".py")
            and not p.name.startswith(NO_STRATEGIES)
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
    elif is_name(str(source)):
        names.append(str(source))
    else:
        near = [str(p) for p in path.parent.iterdir()] if path.parent.is_dir() else []
        known = [n for n in near if Path(n).suffix in (*READERS, ".py") and Path(n).name[0] != "."]
        known += entry_names(STRATEGIES)
        raise ConfigError(
            f"{path}: no such file, folder or shipped strategy",
            cure=did_you_mean(str(path), [*known, *_registry()]),
        )


def is_name(source: str) -> bool:
    """Return whether a shipped or installed strategy has this name."""
    return source in _registry() or source in entry_names(STRATEGIES)


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


class _Types:
    """Every known strategy_type; shipped modules are imported when one is asked for."""

    def __init__(self, python: Mapping[Path, PythonFile]) -> None:
        self._python = python
        self._files: dict[str, StrategyType] = {}
        for path, file in python.items():
            for found in file.strategies:
                self._add(path, file, found)

    def get(self, name: str) -> StrategyType | None:
        """Return what a strategy_type means; a shipped name is never taken over.

        Raises:
            ConfigError: a file and an installed package both know it, or it is not in the file it
                names.
        """
        if name in _registry():
            return _shipped(name)
        found = self._files.get(name) or self._attribute(name)
        if name not in entry_names(STRATEGIES):
            return found
        if found is not None:
            raise ConfigError(
                f"strategy_type {name!r} is a strategy of {found.name.partition(':')[0]}, "
                f"and registered in {STRATEGIES}",
                cure=f"write {found.name}, or leave the file out",
            )
        return _registered(name)

    def declares(self, name: Any) -> Collection[str]:
        """Return the parameters that a strategy_type declares; none where it is unknown."""
        if not isinstance(name, str):
            return ()
        try:
            found = self.get(name)
        except ConfigError:  # which is said of the row
            return ()
        return () if found is None else tuple(found.declared or ())

    def of_file(self, file: PythonFile) -> list[StrategyType]:
        """Return the strategies of one Python file, by their full names."""
        return [t for name, t in self._files.items() if t.file is file and t.name == name]

    def names(self) -> list[str]:
        """Return every name that get() knows."""
        return [*_registry(), *self._files, *entry_names(STRATEGIES)]

    def cure(self, name: str, folder: Path) -> str:
        """Return what helps where get() knows no such strategy_type, of a row in a folder."""
        file, names = folder / name.partition(":")[0], self.names()
        beside = file.suffix == ".py" and file.parent == folder and file.is_file()
        if beside and not any(known.startswith(f"{file.name}:") for known in names):
            return f"name the file beside it, too: {file}"
        return did_you_mean(name, names)

    def _attribute(self, name: str) -> StrategyType | None:
        """Return what FILE.py:NAME names where NAME is not found unnamed, as beside a factory.

        Raises:
            ConfigError: the file has no such strategy, or two that it may be.
        """
        of, _, attribute = name.partition(":")
        files = [file for path, file in self._python.items() if path.name == of and attribute]
        for number, file in enumerate(files, 1):
            try:
                return _type_of(file, strategy_at(file, attribute))
            except ConfigError:
                if number == len(files):  # none of the files of this name has it
                    raise
        return None

    def _add(self, path: Path, file: PythonFile, found: FoundStrategy) -> None:
        name = f"{path.name}:{found.name}"
        if name in self._files:
            other = self._files[name].file
            raise ConfigError(
                f"{path}: {name} is also in {other.path if other else path}",
                cure="rename one of the files",
            )
        self._files[name] = _type_of(file, found)
        self._files.setdefault(found.name, self._files[name])


def _shipped(name: str) -> StrategyType:
    try:
        module = _registry()[name]
    except ImportError as error:
        raise ConfigError(
            f"strategy {name} cannot be imported: {error}", cure="install what it needs"
        ) from error
    return StrategyType(name, "builtin", module.create, getattr(module, "PARAMETERS", None))


def _registered(name: str) -> StrategyType:
    entry = load_entry(STRATEGIES, name)
    return _type_of(entry.file, strategy_at(entry.file, entry.attribute))


def _type_of(file: PythonFile, found: FoundStrategy) -> StrategyType:
    name = f"{file.path.name}:{found.name}"
    return StrategyType(name, found.kind, found.create, found.declared, found.on, file, found.line)


def _bare(type_: StrategyType, source: str) -> Draft:
    # A strategy that no row configures: its defaults, on every instrument.
    config = StrategyConfig(
        strategy_id=type_.name.rpartition(":")[2], strategy_type=type_.name, on=type_.on
    )
    folder = type_.file.path.parent if type_.file else Path()
    return Draft.of(config, Place(source, type_.line), type_, folder)


def _read_rows(file: Path, types: _Types, invalid: Invalid) -> list[Draft]:
    nodes, default_id = _row_nodes(READERS[file.suffix](file), file)
    if file.suffix == ".json":  # a table keeps old rows, whose types may be gone
        nodes = [node for node in nodes if not _inactive(node)]
    return _read_nodes(nodes, default_id, file.parent, types, invalid)


def _read_nodes(
    nodes: Sequence[Node], default_id: str | None, folder: Path, types: _Types, invalid: Invalid
) -> list[Draft]:
    drafts = []
    for node in nodes:
        reader = RowReader(node, default_id, types.declares)
        row = reader.read()
        if row is None:
            invalid.add(node, reader.problems)
            continue
        try:
            found = types.get(row.strategy_type)
        except ConfigError as error:
            found, message, cure = None, error.message, error.cure
        else:
            cure = types.cure(row.strategy_type, folder)
            message = f"unknown strategy {shown(row.strategy_type)}"
        if found is not None:
            drafts.append(_draft_of_row(row, node, found, folder))
            continue
        key = "strategy_type" if "strategy_type" in node.value else "strategy_class"
        invalid.add(node, [Problem(node.where((key,)), key, message, cure)])
    return drafts


def _inactive(node: Node) -> bool:
    row = node.plain()
    return isinstance(row, dict) and (row.get("is_active") is False or row.get("enabled") is False)


def _draft_of_row(row: Row, node: Node, type_: StrategyType, folder: Path) -> Draft:
    tokens = () if row.instrument_tokens == "all" else tuple(row.instrument_tokens)
    config = StrategyConfig(
        strategy_id=row.strategy_id,
        strategy_type=type_.name,
        active_brokers=row.active_brokers(),
        instrument_tokens=tokens,
        max_position_size=row.max_position_size,
        risk_multiplier=row.risk_multiplier,
        enabled=row.enabled,
        on=row.on or type_.on,
        validator=row.validator,
    )
    return Draft(
        config, dict(row.parameters), node, type_, folder, validator=registered(row.validator)
    )


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


def _refuse_duplicates(drafts: Sequence[Draft]) -> None:
    first: dict[str, Draft] = {}
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
