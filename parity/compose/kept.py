"""From a run's folder back to strategy specs: the source that was kept, not today's.

`verify` runs exactly this; `replay` runs it with today's shipped code in its place.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from parity.compose.beginning import keep_sources
from parity.compose.brokers import check_served
from parity.compose.models import KeptModel
from parity.compose.plans import Prepared, digest_of, prepare
from parity.model.errors import ConfigError, RecordingCorrupt
from parity.model.values import StrategyConfig
from parity.recording.runs import KeptStrategy
from parity.settings.pyfile import PythonFile, load_python_file
from parity.settings.strategies import spec_of
from parity.settings.validators import validator_of

if TYPE_CHECKING:
    from parity.compose.shards import Admit
    from parity.core.executor import ExecutorPlan
    from parity.recording.runs import RunFolder, RunWriter
    from parity.settings.drafts import StrategySpec


def kept_specs(run: RunFolder) -> list[StrategySpec]:
    """Return the run's strategies, one spec each, built from its kept source.

    Raises:
        RecordingCorrupt: a kept source is missing or was edited.
    """
    return [_spec(run, kept, today=False) for kept in _one_each(run)]


def todays_specs(run: RunFolder) -> list[StrategySpec]:
    """Return the run's strategies with today's shipped code; users' files as they were kept."""
    return [_spec(run, kept, today=True) for kept in _one_each(run)]


def prepare_today(folder: RunFolder, specs: Sequence[StrategySpec]) -> Prepared:
    """Prepare a run's strategies as they are today; the kept model is the one of its own path.

    Where it lay once is not known any more. One that is named otherwise now is looked for as ever.
    """
    models = _models(folder, folder.manifest.strategies, today=True)
    _check(models)
    return prepare(specs, models=models, mode=folder.manifest.mode)


def _models(
    run: RunFolder, strategies: Iterable[KeptStrategy], *, today: bool
) -> dict[str, KeptModel]:
    # What was kept asks for the model that was kept, whatever it calls it; today's code may name
    # another one.
    return {
        kept.config["strategy_id"]: KeptModel(
            run.path / "models" / f"{kept.model_sha256}.onnx", kept.model if today else ""
        )
        for kept in strategies
        if kept.model_sha256
    }


def prepare_kept(folder: RunFolder) -> Prepared:
    """Prepare exactly what the run kept; raises RecordingCorrupt where that cannot be had."""
    models = _models(folder, folder.manifest.strategies, today=False)
    return _prepared(folder, kept_specs(folder), models)


def _check(models: Mapping[str, KeptModel]) -> None:
    for path, _ in models.values():
        if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != path.stem:
            raise RecordingCorrupt(
                f"{path}: the kept model is missing, or not what its name says",
                cure="restore it; without it nothing can be proved",
            )


def _prepared(
    folder: RunFolder, specs: list[StrategySpec], models: dict[str, KeptModel]
) -> Prepared:
    _check(models)
    prepared = prepare(specs, models=models, mode=folder.manifest.mode)
    for skipped in prepared.skipped:
        raise RecordingCorrupt(
            f"{folder.path}: strategy {skipped['strategy_id']} ran, and can no longer be built "
            f"from what was kept: {skipped['reason']}",
            cure="restore the run's source/ and models/",
        )
    return prepared


def introduce(writer: RunWriter, spec: StrategySpec, admit: Admit | None = None) -> dict[str, Any]:
    """Keep a strategy in a run and return what a control that brings it carries as `strategy`.

    To be called before the control is journaled: behind it every start and every proof of the run
    builds the strategy from what is kept here.

    Raises:
        ConfigError: it is disabled, cannot be built, or is refused by `admit`, as it is for another
            runner; then no control may be journaled.
    """
    prepared = prepare([spec])
    if admit is not None:
        admit(prepared.plans)
    prepared.warn()
    keep_sources(writer, prepared)
    strategy: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(prepared.kept[0]))
    return strategy


class KeptPlanner:
    """Makes the plans of strategies that a run's controls bring, from what the run kept of them.

    Args:
        run: the run's folder.
        today: take today's shipped code in the place of the kept one.
    """

    def __init__(self, run: RunFolder, *, today: bool = False) -> None:
        self._run = run
        self._today = today
        self.then: dict[tuple[str, str], KeptStrategy] = {}  # what the controls carried
        self.now: dict[tuple[str, str], KeptStrategy] = {}  # what was made of it

    def __call__(self, strategy: Mapping[str, Any]) -> list[ExecutorPlan]:
        """Return its plans, one per broker.

        Raises:
            ConfigError: it is no strategy as introduce() returns it, or trades at a broker whose
                topics the run does not have.
            RecordingCorrupt: what the run kept of it is missing or was edited.
        """
        try:
            kept = msgspec.convert(dict(strategy), KeptStrategy)
        except msgspec.ValidationError as error:
            raise ConfigError(f"a control's strategy: {error}") from None
        specs = [_spec(self._run, kept, today=self._today)]
        models = _models(self._run, [kept], today=self._today)
        if self._today:
            _check(models)
            prepared = prepare(specs, models=models, mode=self._run.manifest.mode)
        else:
            prepared = _prepared(self._run, specs, models)
        check_served(self._run.manifest, prepared.plans)
        for one in prepared.kept:
            key = (one.config["strategy_id"], one.broker)
            self.then[key], self.now[key] = kept, one
        return prepared.plans


def _one_each(run: RunFolder) -> list[KeptStrategy]:
    # A strategy at several brokers stands once per broker; its configuration names them all.
    return list({k.config["strategy_id"]: k for k in run.manifest.strategies}.values())


def _spec(run: RunFolder, kept: KeptStrategy, *, today: bool) -> StrategySpec:
    config = msgspec.convert(kept.config, StrategyConfig)
    validator = None
    if kept.validator_source and not today:
        checked = _load(run, kept, kept.validator_source, kept.validator_sha256)
        validator = validator_of(config.validator, kept.validator_factory, checked)
    if today and kept.kind == "builtin":
        return spec_of(config)
    file = _load(run, kept, kept.source, kept.source_sha256)
    named = f"{file.path.name}:{kept.type_name}"
    config = msgspec.structs.replace(config, strategy_type=named)
    return spec_of(config, [file], validator=validator)


def _load(run: RunFolder, kept: KeptStrategy, source: str, sha256: str) -> PythonFile:
    path = run.path / "source" / source
    if not path.is_file():
        raise RecordingCorrupt(
            f"{path}: the kept source of strategy {kept.config['strategy_id']} is missing",
            cure="restore it; without it nothing can be proved",
        )
    file = load_python_file(path, may_be_empty=True)  # what is named in it is asked for later
    sources = {s.name: s.text for s in file.sources}
    if kept.kind == "builtin" and source == kept.source:
        sources = {kept.source: file.sources[0].text}
    if digest_of(sources) != sha256:
        raise RecordingCorrupt(
            f"{path}: the kept source of strategy {kept.config['strategy_id']} is not what ran",
            cure="restore it; to try other code, edit your own file and use replay",
        )
    return file
