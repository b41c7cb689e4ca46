"""Which keys of its parameters a factory reads, where it declares none: a typo is read by nobody.

What is read under other parameters is not known, nor what is read past Python, as a decoder in C
reads a dict. So only what looks like a typo is refused: a key that nobody read, near to one that
was read and not given, from which no whole word parts it, as `_pct` does. A factory that goes
through its whole mapping, or keeps it for later, may read anything: of that one nothing is known.
Never here: what a key means.
"""

from __future__ import annotations

import difflib
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

# How near a typo is, at least, as difflib measures it: `treshold` to `threshold` is 0.94. Beside
# long words that they share another word is as near (`entry_threshold` and `exit_threshold`, 0.83):
# the words that are not shared are near, too, `mni` to `min` by 0.67, `entry` to `exit` by 0.44.
_NEAR: Final = 0.8
_NEAR_WORDS: Final = 0.6


class Built(NamedTuple):
    """What a factory made.

    Args:
        made: whatever it returned.
        reads: the keys it asked for, given or not; None where it may read any, and where it was
            not seen to read one.
    """

    made: Any
    reads: frozenset[str] | None

    def unread(self, given: Mapping[str, Any]) -> list[tuple[str, str, str]]:
        """Return each given key that looks like a typo, as (key, message, cure)."""
        if self.reads is None:
            return []
        absent = sorted(self.reads - {*given})
        meant = [(name, _meant(name, absent)) for name in given if name not in self.reads]
        return [
            (name, "unknown parameter", f"did you mean {near!r}?")
            for name, near in meant
            if near is not None
        ]


def _meant(name: str, absent: Iterable[str]) -> str | None:
    # `length1` and `length2` are two names, however near.
    alike = [other for other in absent if _digits(other) == _digits(name)]
    alike = [other for other in alike if not _by_a_word(name, other)]
    near = difflib.get_close_matches(name, alike, n=1, cutoff=_NEAR)
    return near[0] if near else None


def _by_a_word(name: str, other: str) -> bool:
    """Say whether a name is the other with words more, or with another word."""
    words, others = name.split("_"), other.split("_")
    while words and others and words[0] == others[0]:
        del words[0], others[0]
    while words and others and words[-1] == others[-1]:
        del words[-1], others[-1]
    own, its = "_".join(words), "_".join(others)
    if not own or not its:
        return own != its  # equal where only a line at an end is too many
    return difflib.SequenceMatcher(None, own, its).ratio() < _NEAR_WORDS


def _digits(name: str) -> str:
    return "".join(sign for sign in name if sign.isdigit())


def build_reading(
    create: Callable[[Mapping[str, Any]], Any],
    given: Mapping[str, Any],
    read: dict[str, None] | None = None,
) -> Built:
    """Call a factory with parameters and note which it reads; raises what it raises.

    Args:
        create: the factory.
        given: the parameters.
        read: takes each key that is asked for, and has them also where the factory raises.
    """
    read = {} if read is None else read
    everything: list[bool] = []
    noting = _Noting(given)
    noting.read, noting.everything = read, everything
    kept = weakref.ref(noting)
    made = create(noting)
    del noting
    if everything or not read or kept() is not None:
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
