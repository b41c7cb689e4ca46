"""Which keys of its parameters a factory reads, where it declares none: a typo is read by nobody.

A factory that goes through its whole mapping, or keeps it for later, may read anything: of that one
nothing is known. Never here: what a key means.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from parity.model.errors import did_you_mean


class Built(NamedTuple):
    """What a factory made.

    Args:
        made: whatever it returned.
        reads: the keys it asked for, given or not; None where it may read any.
    """

    made: Any
    reads: frozenset[str] | None

    def unread(self, given: Mapping[str, Any]) -> list[tuple[str, str, str]]:
        """Return each given key that nobody read, as (key, message, cure)."""
        if self.reads is None:
            return []
        known = self.reads
        return [
            (name, "unknown parameter", did_you_mean(name, known) if known else "it reads none")
            for name in given
            if name not in known
        ]


def build_reading(create: Callable[[Mapping[str, Any]], Any], given: Mapping[str, Any]) -> Built:
    """Call a factory with parameters and note which it reads; raises what it raises."""
    read: dict[str, None] = {}
    everything: list[bool] = []
    noting = _Noting(given)
    noting.read, noting.everything = read, everything
    kept = weakref.ref(noting)
    made = create(noting)
    del noting
    if everything or kept() is not None:
        return Built(made, None)
    return Built(made, frozenset(read))


class _Noting(dict[str, Any]):
    """A dict, for that is what factories get, which notes every way of asking it for a key."""

    read: dict[str, None]
    everything: list[bool]

    def __getitem__(self, key: str) -> Any:
        self._note(key)
        return super().__getitem__(key)

    def __contains__(self, key: object) -> bool:
        self._note(key)
        return super().__contains__(key)

    def get(self, key: str, default: Any = None, /) -> Any:
        self._note(key)
        return super().get(key, default)

    def pop(self, key: str, *default: Any) -> Any:
        self._note(key)
        return super().pop(key, *default)

    def setdefault(self, key: str, default: Any = None, /) -> Any:
        self._note(key)
        return super().setdefault(key, default)

    def _note(self, key: object) -> None:
        if isinstance(key, str):
            self.read[key] = None

    # Whatever goes through all of it. `dict(given)` and `**given` ask for keys() of a subclass
    # only where that has an __iter__ of its own.

    def __iter__(self) -> Iterator[str]:
        self.everything.append(True)
        return super().__iter__()

    def keys(self) -> Any:
        self.everything.append(True)
        return super().keys()

    def values(self) -> Any:
        self.everything.append(True)
        return super().values()

    def items(self) -> Any:
        self.everything.append(True)
        return super().items()

    def copy(self) -> dict[str, Any]:
        self.everything.append(True)
        return dict(self)

    def popitem(self) -> tuple[str, Any]:
        self.everything.append(True)
        return super().popitem()

    def __eq__(self, other: object) -> bool:
        self.everything.append(True)
        return super().__eq__(other)

    def __or__(self, other: Any) -> Any:
        return self.copy() | other

    def __ror__(self, other: Any) -> Any:
        return other | self.copy()
