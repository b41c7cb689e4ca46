"""Strategies that were read and are not finished: what is set is tried on them, over and over.

A sweep reads its files once and no more, so that an edit meanwhile never mixes two versions of one.
Never here: how a file is read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from parity.model.errors import ConfigError
from parity.model.values import StrategyConfig
from parity.settings.drafts import (
    Draft,
    StrategySpec,
    StrategyType,
    faults_of,
    finish_all,
)
from parity.settings.overrides import Override, override
from parity.settings.rows import Problem, raise_problems

if TYPE_CHECKING:
    from parity.model.instruments import InstrumentTable
    from parity.settings.document import Node, Place


class Loaded:
    """Strategies as they were read, before `--set` and before their parameters are checked."""

    def __init__(self, drafts: Sequence[Draft], invalid: Invalid) -> None:
        skip = invalid.skip
        self._drafts = [replace(one, skippable=one.skippable or skip) for one in drafts]
        self._invalid = invalid

    def specs(self, overrides: Sequence[Override] = ()) -> list[StrategySpec]:
        """Return the strategies with what is set, checked and each enabled one built once.

        Args:
            overrides: `id.parameter=value` for one strategy, `parameter=value` for each that has
                it; `risk.cooldown_sec=…` and `id.risk.cooldown_sec=…` reach the risk block.

        Raises:
            ConfigError: a strategy is wrong, where invalid ones are not skipped; or what is set
                is wrong, in any case.
        """
        drafts = [draft.copy() for draft in self._drafts]
        override(drafts, overrides)
        if not self._invalid.skip:
            return finish_all(drafts)
        made: list[StrategySpec] = []
        refused = list(self._invalid.specs)
        for draft, written in zip(drafts, self._drafts, strict=True):
            try:
                made += finish_all([draft])
            except ConfigError as error:
                if draft.set_by and _is_right(written):
                    raise  # of the row nothing is wrong, but of what was set
                refused.append(Invalid.dropped(draft.config.strategy_id, draft.node.place, error))
        if not made:
            return finish_all(drafts)  # which says what is wrong with each
        return [*made, *refused]


def _is_right(draft: Draft) -> bool:
    try:
        finish_all([draft])
    except ConfigError:
        return False
    return True


class Invalid:
    """What is wrong with rows: reasons to refuse the set, or refused specs to be shown."""

    def __init__(self, skip: bool) -> None:
        self.skip = skip
        self.specs: list[StrategySpec] = []
        self._problems: list[Problem] = []

    def add(self, node: Node, problems: Sequence[Problem]) -> None:
        """Take what is wrong with a row."""
        self._problems += problems
        row: dict[str, Any] = node.plain() if isinstance(node.value, dict) else {}
        given = [row.get(key) for key in ("strategy_id", "strategy_name", "id")]
        here = f"{node.place.file}:{node.place.line}"
        name = next((g for g in given if isinstance(g, str) and g), here)
        reason = "; ".join(f"{p}; {p.cure}" if p.cure else str(p) for p in problems)
        self.specs.append(self._refused(name, node.place, reason))

    @staticmethod
    def dropped(name: str, place: Place, error: ConfigError) -> StrategySpec:
        """Return the refused spec of a row whose strategy cannot be made."""
        return Invalid._refused(name, place, str(error).replace("\n", "; "))

    @staticmethod
    def _refused(name: str, place: Place, reason: str) -> StrategySpec:
        config = StrategyConfig(strategy_id=name, strategy_type="invalid", enabled=False)
        kind = StrategyType("invalid", "invalid", _no_strategy, None)
        return StrategySpec(config, place, kind, Path(), refused=reason)

    def settle(self, drafts: Sequence[Draft]) -> None:
        """Refuse everything, unless invalid rows are skipped and a good one is left."""
        if self._problems and (not self.skip or not drafts):
            raise_problems([*self._problems, *faults_of(drafts)])  # all there is, at once


def on_instruments(specs: Sequence[StrategySpec], table: InstrumentTable) -> list[StrategySpec]:
    """Return the strategies, those refused that name an instrument which a table lacks.

    Raises:
        ConfigError: naming each that is not of a set whose invalid rows are skipped.
    """
    found, problems = [], []
    for spec in specs:
        absent = [t for t in spec.config.instrument_tokens if t not in table]
        if not absent or not spec.config.enabled:
            found.append(spec)
            continue
        try:
            table.by_token(absent[0])
        except ConfigError as error:
            message = f"strategy {spec.strategy_id}: {error.message}"
            problem = Problem(spec.place, "instruments", message, error.cure)
        if spec.skippable:
            refusal = ConfigError(str(problem), cure=problem.cure)
            found.append(Invalid.dropped(spec.strategy_id, spec.place, refusal))
        else:
            problems.append(problem)
    raise_problems(problems)
    return found


def _no_strategy(parameters: Mapping[str, Any]) -> Any:
    raise ConfigError("an invalid row has no strategy", cure="mend the row")
