"""Registered validators: entry points of the group `parity.validators`, chosen by `validator:`.

An installed package names a factory there. Its module is read as a file of its own and run from
that text, which a run keeps, so what is proved later is what decided.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from parity.model.errors import ConfigError
from parity.settings.pyfile import PythonFile, load_python_file

if TYPE_CHECKING:
    from parity.model.parameters import Parameter
    from parity.model.protocols import SignalValidator

GROUP: Final = "parity.validators"
STANDARD: Final = "standard"
BLOCK: Final = "validation"  # inside `parameters`: what a registered validator is given


@dataclass(frozen=True, slots=True)
class ValidatorType:
    """A registered validator: how to build it, what it takes, and the text it is made of.

    Args:
        name: what a configuration calls it.
        factory: the name of its factory in the file.
        create: builds it from the block `validation`.
        declared: the module's PARAMETERS, or None where it takes any mapping.
        file: its module, loaded.
    """

    name: str
    factory: str
    create: Callable[[Mapping[str, Any]], Any]
    declared: Mapping[str, Parameter] | None
    file: PythonFile

    def build(self, parameters: Mapping[str, Any]) -> SignalValidator:
        """Return the validator; raises ConfigError where the factory fails or gives none."""
        try:
            built = self.create(parameters)
        except (Exception, SystemExit) as error:  # a user's factory
            raise ConfigError(
                f"validator {self.name} could not be built: {type(error).__name__}: {error}",
                cure=f"see {self.file.path}",
            ) from error
        call = getattr(built, "validate", built)
        if not callable(call):
            raise ConfigError(
                f"validator {self.name}: {self.factory} gave a {type(built).__name__}",
                cure="return a function (candidate, tick, history, context) -> reason or None",
            )
        validator: SignalValidator = call
        return validator


def validator_names() -> list[str]:
    """Return every name that `validator:` may have."""
    return [STANDARD, *sorted({point.name for point in metadata.entry_points(group=GROUP)})]


def registered(name: str) -> ValidatorType | None:
    """Return the validator of a name, loaded; None for the standard ones alone.

    Raises:
        ConfigError: nobody registered it, two did, or its module cannot be loaded.
    """
    if name == STANDARD:
        return None
    points = {p.value: p for p in metadata.entry_points(group=GROUP) if p.name == name}
    if len(points) != 1:
        said = f"is registered as {' and as '.join(sorted(points))}" if points else "is unknown"
        cure = (
            "uninstall one of them" if points else f"install the package that names it in {GROUP}"
        )
        raise ConfigError(f"validator {name!r} {said}", cure=cure)
    (point,) = points.values()
    try:
        found = importlib.util.find_spec(point.module)
    except ImportError as error:
        raise ConfigError(f"validator {name}: {point.module}: {error}") from error
    if found is None or found.origin is None or not found.origin.endswith(".py"):
        raise ConfigError(
            f"validator {name}: {point.module} is no Python file", cure="mend its entry point"
        )
    file = load_python_file(Path(found.origin), may_be_empty=True)
    return validator_of(name, point.attr, file)


def validator_of(name: str, factory: str, file: PythonFile) -> ValidatorType:
    """Return the validator that a loaded file holds; raises ConfigError where it does not."""
    create = getattr(file.module, factory, None)
    if not callable(create):
        raise ConfigError(
            f"validator {name}: {file.path} has no function {factory!r}",
            cure="name its factory in the entry point: module:factory",
        )
    declared = getattr(file.module, "PARAMETERS", None)
    return ValidatorType(
        name, factory, create, declared if isinstance(declared, Mapping) else None, file
    )
