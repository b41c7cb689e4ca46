"""Where a strategy's model lies: one rule for every mode, and each file read once.

`model_path` is looked for below the folder of the file that configures the strategy, then below the
folder of the Python file that defines it, then among the models that ship with parity; the first
file found is the model. Never the working directory, unless the configuration has no file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

    from parity.live.inference import OnnxModel
    from parity.settings.drafts import StrategySpec


class KeptModel(NamedTuple):
    """A run's own copy of a model.

    Args:
        file: where it lies in the run.
        name: the `model_path` it was read by; it stands for no other. "" stands for any.
    """

    file: Path
    name: str = ""


class Models:
    """The models of one or several runs that begin together, each file read once."""

    def __init__(self) -> None:
        self._read: dict[Path, OnnxModel] = {}

    def of(self, spec: StrategySpec, name: str, kept: KeptModel | None = None) -> OnnxModel:
        """Return a strategy's model.

        Args:
            spec: the strategy.
            name: its `model_path`.
            kept: a run's own copy, which is used instead where it stands for that path.

        Raises:
            ModelMissing: it lies nowhere; names the places looked at.
            ModelUnavailable: it leads out of all of them, or is no model.
        """
        from parity.live.inference import find_model, read_model

        if kept is not None and kept.name in ("", name):
            file = kept.file
        else:
            file = find_model(name, places(spec))
        if file not in self._read:
            self._read[file] = read_model(file, name=name)
        return self._read[file]


def places(spec: StrategySpec) -> list[Path]:
    """Return the folders in which a strategy's model may lie, the first one first."""
    from parity.live.inference import shipped_models

    found = [spec.folder]
    if spec.type.file is not None:
        found.append(spec.type.file.path.parent)
    found.append(shipped_models())
    return list(dict.fromkeys(folder.resolve() for folder in found))
