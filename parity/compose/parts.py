"""What a processor is composed of, where models are concerned: a hybrid's inner model counts too.

A wrapper with no model of its own would else run on its rules alone, in silence. Never here: what a
model is, or where its file lies.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from parity.core.asked import asked, name_of
from parity.core.found import words_of
from parity.model.errors import ConfigError

if TYPE_CHECKING:
    from parity.live.inference import OnnxModel

_DEPTH_MAX: Final = 8
_MODEL_PATH: Final = 'a processor with use_model has a model_path: text, and "" for none'
_USE_MODEL: Final = "mend it: it gets the loaded model before the first tick, or None"


def learned_parts(processor: Any) -> list[Any]:
    """Return the processor and those inside it that ask a model, each once, outermost first.

    One asks a model where it has `use_model`, or `load_model` as older code has it.
    """
    found: list[Any] = []
    _search(processor, found, set(), 0)
    return found


def _search(one: Any, found: list[Any], seen: set[int], depth: int) -> None:
    if id(one) in seen or depth > _DEPTH_MAX:
        return
    seen.add(id(one))
    if any(callable(getattr(one, name, None)) for name in ("use_model", "load_model")):
        found.append(one)
    inner: list[Any] = []
    if isinstance(one, dict):
        inner = list(one.values())
    elif isinstance(one, list | tuple):
        inner = list(one)
    elif callable(getattr(one, "process_tick", None)):
        inner = list(getattr(one, "__dict__", {}).values())
    for part in inner:
        if isinstance(part, list | tuple | dict) or callable(getattr(part, "process_tick", None)):
            _search(part, found, seen, depth + 1)


def model_path_of(processor: Any) -> str:
    """Return the model that its parts receive through `use_model`; "" where none does.

    Raises:
        ConfigError: they name several.
    """
    paths = {
        asked(type(p).__name__, "model_path", partial(_path_of, p), cure=_MODEL_PATH)
        for p in learned_parts(processor)
        if hasattr(p, "use_model")
    }
    if len(paths) > 1:
        raise ConfigError(
            f"{name_of(processor)}: it names {len(paths)} models, {', '.join(sorted(paths))}",
            cure="a strategy has one model",
        )
    return next(iter(paths), "")


def _path_of(part: Any) -> str:
    return str(part.model_path)


def equip(processor: Any, model: OnnxModel | None) -> None:
    """Give every part its model, or have it load its own.

    Raises:
        ConfigError: `load_model` failed, or said that it did.
    """
    for part in learned_parts(processor):
        name = type(part).__name__
        if hasattr(part, "use_model"):
            asked(name, "use_model", partial(part.use_model, model), cure=_USE_MODEL)
            continue
        try:
            loaded = part.load_model()
        except (Exception, SystemExit) as error:  # a user's code may raise anything
            raise ConfigError(f"{name}: load_model failed: {words_of(error)}") from error
        if not loaded:
            raise ConfigError(
                f"{name}: load_model gave {loaded!r}", cure="see that its model file is there"
            )
