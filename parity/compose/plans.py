"""From checked strategy specs to executor plans: models loaded, kernels compiled, sources kept.

A strategy that is disabled, or whose model cannot be loaded, is skipped, with the reason, and
never in silence.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
import structlog

from parity.compose.brokers import BACKTEST, fills_of
from parity.compose.models import KeptModel, Models
from parity.compose.parts import equip, learned_parts, model_path_of
from parity.core.executor import ExecutorPlan
from parity.model.errors import ConfigError, ParityError
from parity.model.kernel import KernelStrategy
from parity.recording.runs import KeptStrategy
from parity.settings.loaded import on_instruments
from parity.strategies import REGISTRY

if TYPE_CHECKING:
    from parity.live.inference import OnnxModel
    from parity.model.instruments import InstrumentTable
    from parity.settings.drafts import StrategySpec
    from parity.settings.pyfile import PythonFile

_log = structlog.get_logger("parity.compose.plans")

DISABLED: Final = "disabled"  # why a strategy is skipped that a row turns off
INVALID: Final = "invalid: "  # and what stands before what is wrong with a row


class Prepared(NamedTuple):
    """Executor plans, and what a run keeps of what they were made of."""

    plans: list[ExecutorPlan]
    kept: list[KeptStrategy]
    skipped: list[dict[str, str]]
    sources: dict[str, str]  # path below source/ -> text
    models: dict[str, bytes]  # sha256 -> bytes
    unheard: dict[str, str]  # strategy_id -> why the canary of its kernel compared nothing

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a person is told of strategies that run."""
        return tuple(
            f"strategy {name}: the canary of its kernel compared nothing: {reason}"
            for name, reason in self.unheard.items()
        )

    def warn(self) -> None:
        """Say the same in the log, of a run that has one."""
        for name, reason in self.unheard.items():
            _log.warning("canary_compared_nothing", strategy=name, reason=reason)


class _Source(NamedTuple):
    """The texts a strategy was made of, the first being the file that defines it."""

    texts: dict[str, str]
    main: str
    type_name: str
    sha256: str


def prepare(
    specs: Sequence[StrategySpec],
    *,
    models: Mapping[str, KeptModel] | None = None,
    read: Models | None = None,
    table: InstrumentTable | None = None,
    mode: str = BACKTEST,
) -> Prepared:
    """Make executor plans of specs.

    Args:
        specs: checked strategies; disabled ones are skipped.
        models: a run's own copies, by strategy_id, where these are to be used.
        read: models that were read before, by runs that begin together.
        table: the instruments there are, where rows may name others.
        mode: of the run, which chooses who fills.

    Raises:
        ConfigError: nothing is left to run, or a row names an instrument that is not there.
        KernelError: a kernel cannot be compiled.
    """
    if table is not None:
        specs = on_instruments(specs, table)
    made = gather(specs, models=models, read=read, mode=mode)
    if not made.plans:
        reasons = "; ".join(f"{s['strategy_id']}: {s['reason']}" for s in made.skipped)
        raise ConfigError(f"no strategy left to run ({reasons})", cure="enable or mend one")
    return made


def gather(
    specs: Sequence[StrategySpec],
    *,
    models: Mapping[str, KeptModel] | None = None,
    read: Models | None = None,
    mode: str = BACKTEST,
) -> Prepared:
    """Do the same, where it may be that nothing is left; `skipped` says why."""
    made = Prepared([], [], [], {}, {}, {})
    read = Models() if read is None else read
    for spec in specs:
        _prepare_one(spec, (models or {}).get(spec.strategy_id), read, made, mode)
    return made


def _prepare_one(
    spec: StrategySpec, kept: KeptModel | None, read: Models, made: Prepared, mode: str
) -> None:
    if spec.refused:
        made.skipped.append({"strategy_id": spec.strategy_id, "reason": INVALID + spec.refused})
        return
    if not spec.config.enabled:
        made.skipped.append({"strategy_id": spec.strategy_id, "reason": DISABLED})
        return
    config = _plain(spec)
    built = spec.build()
    model: OnnxModel | None = None
    model_path = ""
    if learned_parts(built):
        from parity.live.inference import ModelUnavailable

        try:
            model_path = model_path_of(built)
            model = read.of(spec, model_path, kept) if model_path else None
            equip(built, model)
        except (ModelUnavailable, ConfigError) as error:
            made.skipped.append({"strategy_id": spec.strategy_id, "reason": str(error)})
            return
        if model is not None:
            made.models[model.sha256] = model.data
    driver = None
    if isinstance(built, KernelStrategy):
        from parity import codegen

        driver = codegen.build(built)
        if not driver.canary.ticks:
            made.unheard[spec.strategy_id] = driver.canary.raised
    source = _source_of(spec)
    made.sources.update(source.texts)
    checked_by, validator = spec.build_validator(), None
    if spec.validator is not None:
        validator = _source_of_file(spec.validator.file, spec.validator.factory)
        made.sources.update(validator.texts)
    for broker in spec.config.active_brokers:
        own = None if model is None else copy.copy(model)  # each executor's counts for itself
        build, fills = _builder(spec, own), fills_of(mode, broker)
        made.plans.append(ExecutorPlan(spec.config, broker, build, driver, checked_by, fills, own))
        made.kept.append(
            KeptStrategy(
                config=config,
                broker=broker,
                kind=spec.type.kind,
                type_name=source.type_name,
                source=source.main,
                source_sha256=source.sha256,
                driver=driver.key if driver else "",
                certificate=driver.certificate if driver else "",
                model=model_path,
                model_sha256=model.sha256 if model else "",
                validator_source=validator.main if validator else "",
                validator_factory=validator.type_name if validator else "",
                validator_sha256=validator.sha256 if validator else "",
            )
        )


def _plain(spec: StrategySpec) -> dict[str, Any]:
    """Return the configuration as a manifest keeps it, or raise ConfigError."""
    for name, value in spec.config.parameters.items():
        try:
            msgspec.to_builtins(value)
        except (TypeError, ValueError):
            raise ConfigError(
                f"{spec.strategy_id}: parameters.{name}: expected a plain value, was {value!r}",
                cure="number, text, true or false, null, or lists and mappings of these",
            ) from None
    plain: dict[str, Any] = msgspec.to_builtins(spec.config)
    return plain


def _builder(spec: StrategySpec, model: OnnxModel | None) -> Callable[[], Any]:
    def build() -> Any:
        built = spec.build()
        equip(built, model)
        return built

    return build


def _source_of(spec: StrategySpec) -> _Source:
    file = spec.type.file
    if file is not None:
        return _source_of_file(file, spec.type.name.rpartition(":")[2])
    module = REGISTRY[spec.type.name]
    try:
        text = Path(str(module.__file__)).read_text(encoding="utf-8")
    except OSError as error:
        raise ParityError(f"source of strategy {spec.type.name} cannot be read: {error}") from None
    name = f"shipped/{spec.type.name}.py"
    return _Source({name: text}, name, spec.type.name, digest_of({name: text}))


def _source_of_file(file: PythonFile, name: str) -> _Source:
    digest = digest_of({s.name: s.text for s in file.sources})
    folder = digest[:16]
    texts = {f"{folder}/{s.name}": s.text for s in file.sources}
    return _Source(texts, f"{folder}/{file.sources[0].name}", name, digest)


def digest_of(texts: Mapping[str, str]) -> str:
    """Return the hash of the source texts a strategy was made of."""
    whole = hashlib.sha256()
    for name in sorted(texts):
        whole.update(f"{name}\0{len(texts[name])}\0{texts[name]}".encode())
    return whole.hexdigest()
