"""`--set` and a sweep's values: which strategies a name is for, and what is written into them.

Never here: whether a value is right; that is said when the strategy is finished.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import msgspec

from parity.model.errors import ConfigError, did_you_mean
from parity.model.parameters import shown
from parity.settings.drafts import HEADS, LIMITS, Draft
from parity.settings.rows import ROW_LIMITS, row_limit
from parity.settings.yaml import parse_yaml


class Given(NamedTuple):
    """A value as Python has it, where `--set` gives text.

    Args:
        name: the parameter, as `--set` names it.
        value: what it is set to.
    """

    name: str
    value: Any


Override = str | Given


class _Setting(NamedTuple):
    """What is to be set.

    Args:
        name: the parameter, with an id before it or none.
        value: what it is set to.
        said: how an error begins.
        is_text: the value is text of a command line.
        drafts: those it is for; None is each that has the parameter.
        parameter: what it is to them.
    """

    name: str
    value: Any
    said: str
    is_text: bool
    drafts: Sequence[Draft] | None = None
    parameter: str = ""


def override(drafts: Sequence[Draft], overrides: Sequence[Override]) -> None:
    """Write `--set` texts, and values of Python, into the drafts they name, in their order.

    A name without an id is for each draft that has the parameter, in whatever order the names
    stand: one that is read only under what another sets is found, too. A factory that declares
    nothing is called once for this, and again only where what is set may let it read what is left.

    Raises:
        ConfigError: a name is nobody's, or a value cannot be read.
    """
    settings = [_aimed(drafts, _setting(given)) for given in overrides]
    wanted = {setting.name for setting in settings if setting.drafts is None}
    reached = [_reached(draft, settings, wanted) for draft in drafts]
    everywhere = wanted.difference(*(one.names for one in reached))
    for setting in settings:
        if setting.name in everywhere and setting.name not in (*LIMITS, *ROW_LIMITS):
            known = {name for one in reached for name in one.reads}
            known |= {name for draft in drafts for name in draft.given}
            raise ConfigError(
                f"{setting.said}: no strategy has a parameter {setting.name!r}",
                cure=did_you_mean(setting.name, known) if known else "they have none",
            )
    for draft, one in zip(drafts, reached, strict=True):
        _write(draft, settings, one.names | everywhere)


def _setting(given: Override) -> _Setting:
    if isinstance(given, Given):
        said = f"sweep: {given.name}={shown(given.value)}"
        return _Setting(given.name.strip(), given.value, said, False)
    name, equals, value = given.partition("=")
    if not equals or not name.strip():
        raise ConfigError(
            f"--set {given}: expected [id.]parameter=value", cure="for example threshold=0.02"
        )
    return _Setting(name.strip(), value.strip(), f"--set {given}", True)


def _aimed(drafts: Sequence[Draft], setting: _Setting) -> _Setting:
    """Return the setting with what its name says of whom it is for."""
    name = setting.name
    # Ids may hold dots, so the longest id that fits is the one that is meant.
    meant = sorted((d for d in drafts if name.startswith(d.config.strategy_id + ".")),
                   key=lambda d: -len(d.config.strategy_id))  # fmt: skip
    if meant:
        parameter = name[len(meant[0].config.strategy_id) + 1 :]
        return setting._replace(drafts=meant[:1], parameter=parameter)
    head, dot, _ = name.partition(".")
    if dot and head not in HEADS:
        ids = [d.config.strategy_id for d in drafts]
        raise ConfigError(f"{setting.said}: no strategy {head!r}", cure=did_you_mean(head, ids))
    return setting._replace(drafts=drafts if dot else None, parameter=name)


class _Reached(NamedTuple):
    """The wanted names that are a draft's parameters, and all that can be set in it."""

    names: set[str]
    reads: Collection[str]


def _reached(draft: Draft, settings: Sequence[_Setting], wanted: set[str]) -> _Reached:
    found = _Reached(set(), ())
    while wanted - found.names:
        tried = draft.copy()
        _write(tried, settings, found.names)
        reads = tried.reads()
        more = {name for name in wanted if name in reads} - found.names
        found = _Reached(found.names | more, reads)
        if not more:
            break
    return found


def _write(draft: Draft, settings: Sequence[_Setting], names: set[str]) -> None:
    """Write what is meant for a draft, the names without an id only where they are among these."""
    for setting in settings:
        if setting.drafts is None:
            if setting.name in names:
                _set(draft, setting)
        elif any(one.config.strategy_id == draft.config.strategy_id for one in setting.drafts):
            _set(draft, setting)


def _typed(draft: Draft, setting: _Setting) -> Any:
    declared = (draft.type.declared or {}).get(setting.parameter)
    if not setting.is_text or (declared is not None and declared.kind in ("str", "path")):
        return setting.value
    return parse_yaml(setting.value, setting.said).plain()


def _set(draft: Draft, setting: _Setting) -> None:
    parameter, typed = setting.parameter, _typed(draft, setting)
    declared = (draft.type.declared or {}).get(parameter)
    if declared is None and parameter in ROW_LIMITS:
        try:
            draft.config = msgspec.structs.replace(
                draft.config, **{parameter: row_limit(parameter, typed)}
            )
        except ConfigError as error:
            raise ConfigError(f"{setting.said}: {error.message}") from None
        return
    if declared is None and parameter in LIMITS:
        parameter = f"risk.{parameter}"
    head, dot, inner = parameter.partition(".")
    if dot and head in HEADS:
        block = draft.given.get(head)
        draft.given[head] = {**(block if isinstance(block, dict) else {}), inner: typed}
    else:
        draft.given[parameter] = typed
    draft.set_by[parameter] = setting.said
