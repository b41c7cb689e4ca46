"""Strategies between being written and being ready: their parameters, and the finished spec.

Parameters are checked against what the strategy declares; the blocks `risk` and `paper` belong to
the executor. Everything wrong is reported at once, each with its place.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from parity.core.asked import place_of
from parity.core.found import words_of
from parity.core.validators.limits import RISK_SPELLINGS
from parity.model.errors import ConfigError, ParityError
from parity.model.kernel import KernelStrategy
from parity.model.parameters import Parameter, complete_parameters, is_plain, shown
from parity.settings.document import Node, Place
from parity.settings.pyfile import PROCESSOR_METHODS, PythonFile
from parity.settings.reading import Built, build_reading
from parity.settings.rows import (
    BLOCKS,
    Problem,
    check_block,
    raise_problems,
)
from parity.settings.validators import BLOCK, ValidatorType

if TYPE_CHECKING:
    from pathlib import Path

    from parity.model.protocols import SignalValidator
    from parity.model.values import StrategyConfig


# What may stand beside the parameters and is meant for the block `risk`.
LIMITS = (*BLOCKS["risk"], *RISK_SPELLINGS)
HEADS = (*BLOCKS, BLOCK)


@dataclass(frozen=True, slots=True)
class StrategyType:
    """What a `strategy_type` means: how to build it, and which parameters it declares."""

    name: str
    kind: str  # "builtin", or "function", "class", "create" of a Python file
    create: Callable[[Mapping[str, Any]], Any]
    declared: Mapping[str, Parameter] | None
    on: str = "trades"
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
        validator: the registered one it names; None for the standard ones.
        refused: why it is invalid, where invalid rows are skipped; it is never built.
        skippable: it is one of a set whose invalid rows are skipped.
    """

    config: StrategyConfig
    place: Place
    type: StrategyType
    folder: Path
    validator: ValidatorType | None = None
    refused: str = ""
    skippable: bool = False

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
        return self._build(lambda given: Built(self.type.create(given), None)).made

    def build_reading(self, read: dict[str, None] | None = None) -> Built:
        """Do the same, and note which parameters the factory reads, in `read` also if it raises."""
        return self._build(partial(build_reading, self.type.create, read=read))

    def _build(self, create: Callable[[Mapping[str, Any]], Built]) -> Built:
        try:
            built = create(self.parameters)
        except ParityError as error:
            raise ConfigError(f"{self.where}: {error.message}", cure=error.cure) from error
        except (
            Exception,
            SystemExit,
        ) as error:  # a user's factory
            place = place_of(error)
            raise ConfigError(
                f"{self.where}: {self.type.name} could not be built: {words_of(error)}"
                f"{place and f' ({place})'}",
                cure=f"parameters were {shown(str(self.parameters))}",
            ) from error
        made = built.made
        _look_for_what_is_not_there(made, self)
        lacking = [m for m in PROCESSOR_METHODS if not callable(getattr(made, m, None))]
        if lacking and not isinstance(made, KernelStrategy):
            raise ConfigError(
                f"{self.where}: {self.type.name} built a {type(made).__name__} without "
                f"{', '.join(lacking)}",
                cure="return a processor (those four methods) or a KernelStrategy",
            )
        return built

    def build_validator(self) -> SignalValidator | None:
        """Return the registered validator, built; raises ConfigError naming the strategy."""
        if self.validator is None:
            return None
        try:
            return self.validator.build(self.config.parameters.get(BLOCK, {}))
        except ConfigError as error:
            raise ConfigError(f"{self.where}: {error.message}", cure=error.cure) from error


def _look_for_what_is_not_there(built: Any, spec: StrategySpec) -> None:
    # Optional methods are looked for by name, which a __getattr__ has to answer as Python says.
    try:
        getattr(built, "no_such_method", None)
    except (Exception, SystemExit) as error:  # a user's method
        raise ConfigError(
            f"{spec.where}: {spec.type.name}: __getattr__ of {type(built).__name__} raised "
            f"{type(error).__name__} for a name that is not there",
            cure="let it raise AttributeError",
        ) from error


@dataclass(slots=True)
class Draft:
    """A strategy before its parameters are checked; what is set is written into `given`.

    Args:
        set_by: what set a parameter, as an error says it, by the parameter.
        finished: it was checked before; only what is set on it is new.
        skippable: it is one of a set whose invalid rows are skipped.
    """

    config: StrategyConfig
    given: dict[str, Any]
    node: Node  # where parameters stand
    type: StrategyType
    folder: Path
    set_by: dict[str, str] = field(default_factory=dict)
    validator: ValidatorType | None = None
    finished: bool = False
    skippable: bool = False

    @classmethod
    def of(
        cls,
        config: StrategyConfig,
        place: Place,
        type_: StrategyType,
        folder: Path,
        validator: ValidatorType | None = None,
    ) -> Draft:
        """Return the draft of a configuration whose parameters have no lines of their own."""
        given, node = dict(config.parameters), Node(place, {})
        return cls(config, given, node, type_, folder, validator=validator)

    @classmethod
    def of_spec(cls, spec: StrategySpec) -> Draft:
        """Return the draft of a strategy that was finished before."""
        draft = cls.of(spec.config, spec.place, spec.type, spec.folder, spec.validator)
        draft.finished, draft.skippable = True, spec.skippable
        return draft

    def reads(self) -> Collection[str]:
        """Return the parameters that can be set: those declared, else those given or asked for.

        What a factory asks for before it raises counts: it may raise for want of what is set.
        """
        if self.type.declared is not None:
            return self.type.declared
        read: dict[str, None] = {}
        with suppress(ConfigError):  # which is said when it is finished
            _finish(self, []).build_reading(read)
        return {*self.given, *read}

    def copy(self) -> Draft:
        """Return one that can be written into without this one being changed."""
        return replace(self, given=dict(self.given), set_by=dict(self.set_by))


def _own(parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in parameters.items() if name not in HEADS}


def finish_all(drafts: Sequence[Draft]) -> list[StrategySpec]:
    """Return the checked specs, each enabled one built once; raises ConfigError for all faults."""
    problems: list[Problem] = []
    specs = [_finish(draft, problems) for draft in drafts]
    raise_problems(problems)
    for draft, spec in zip(drafts, specs, strict=True):
        if spec.config.enabled:
            spec.build_validator()
            problems += _tried(draft, spec)
    raise_problems(problems)
    return specs


def _tried(draft: Draft, spec: StrategySpec) -> list[Problem]:
    """Build it: what a factory itself refuses is refused now, not at the first tick."""
    if draft.type.declared is not None:
        spec.build()
        return []
    unread = spec.build_reading().unread(spec.parameters)
    new = [one for one in unread if not draft.finished or one[0] in draft.set_by]
    return [_problem(draft, *one) for one in new]


def faults_of(drafts: Sequence[Draft]) -> list[Problem]:
    """Return what is wrong with parameters, where a set is refused in any case."""
    problems: list[Problem] = []
    for draft in drafts:
        _finish(draft, problems)
    return problems


def _finish(draft: Draft, problems: list[Problem]) -> StrategySpec:
    given = dict(draft.given)
    declared = draft.type.declared
    faults = lift_risk(given, declared)
    blocks: dict[str, Any] = {}
    for name in BLOCKS:
        if name in given:
            blocks[name], wrong = check_block(name, given.pop(name))
            faults += wrong
    if BLOCK in given or draft.validator is not None:
        blocks[BLOCK], wrong = _validation(draft, given.pop(BLOCK, {}))
        faults += wrong
    if declared is None:
        completed = given
        faults += [
            (name, f"expected a plain value, was {shown(value)}", "")
            for name, value in given.items()
            if not is_plain(value)
        ]
    else:
        completed, found = complete_parameters(declared, given)
        faults += [(f.name, f.message, f.cure) for f in found]
    problems += [_problem(draft, *fault) for fault in faults]
    config = msgspec.structs.replace(draft.config, parameters={**completed, **blocks})
    return StrategySpec(
        config,
        draft.node.place,
        draft.type,
        draft.folder,
        draft.validator,
        skippable=draft.skippable,
    )


def _validation(draft: Draft, given: Any) -> tuple[dict[str, Any], list[tuple[str, str, str]]]:
    if draft.validator is None:
        return {}, [(BLOCK, "no registered validator is named", "write validator: NAME too")]
    if not isinstance(given, Mapping) or not is_plain(dict(given)):
        return {}, [(BLOCK, f"expected a mapping of plain values, was {shown(given)}", "")]
    if draft.validator.declared is None:
        return dict(given), []
    completed, found = complete_parameters(draft.validator.declared, given)
    return completed, [(f"{BLOCK}.{f.name}", f.message, f.cure) for f in found]


def lift_risk(
    given: dict[str, Any], declared: Mapping[str, Parameter] | None
) -> list[tuple[str, str, str]]:
    """Move limits that stand beside the parameters into `risk`; return conflicts.

    The seed's validator reads its limits there; the block is newer.

    Args:
        given: the parameters, changed in place.
        declared: the strategy's own, which stay where they are.
    """
    faults: list[tuple[str, str, str]] = []
    for name in LIMITS:
        if name not in given or name in (declared or {}):
            continue
        block = given.setdefault("risk", {})
        if isinstance(block, dict) and block.get(name, given[name]) == given[name]:
            given["risk"] = {**block, name: given.pop(name)}
        else:
            faults.append((name, f"stands beside risk.{name} with another value", "keep one"))
            given.pop(name)
    return faults


def _problem(draft: Draft, name: str, message: str, cure: str) -> Problem:
    if name in draft.set_by:
        return Problem(Place(draft.set_by[name], 0), f"parameters.{name}", message, cure)
    place = draft.node.where(("parameters", *name.split(".")))
    return Problem(place, f"parameters.{name}", message, cure)
