"""Registered validators: entry points of the group `parity.validators`, chosen by `validator:`.

An installed package names a factory there (parity.settings.entries).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from parity.model.errors import ConfigError
from parity.settings.entries import VALIDATORS, entry_names, load_entry

if TYPE_CHECKING:
    from parity.model.parameters import Parameter
    from parity.model.protocols import SignalValidator
    from parity.settings.pyfile import PythonFile

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
    return [STANDARD, *entry_names(VALIDATORS)]


def registered(name: str) -> ValidatorType | None:
    """Return the validator of a name, loaded; None for the standard ones alone.

    Raises:
        ConfigError: nobody registered it, two did, or its module cannot be loaded.
    """
    if name == STANDARD:
        return None
    entry = load_entry(VALIDATORS, name)
    return validator_of(name, entry.attribute, entry.file)


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
