"""What generated streams reach: a law over streams that never get to its subject holds of nothing.

Only the search belongs here; what counts as reached is the business of each law.
"""

import contextlib
from collections.abc import Callable, Iterable, Set
from typing import Any

from hypothesis import Phase, find, settings
from hypothesis.errors import NoSuchExample
from hypothesis.strategies import SearchStrategy

GENERATED = settings(phases=[Phase.generate], max_examples=1000, derandomize=True)


def unreached(
    streams: SearchStrategy[Any], wanted: Iterable[str], reached: Callable[[Any], Set[str]]
) -> set[str]:
    """Return what is wanted and reached by none of the streams; draws until nothing is left."""
    missing = {*wanted}

    def the_last_one(stream: Any) -> bool:
        missing.difference_update(reached(stream))
        return not missing

    with contextlib.suppress(NoSuchExample):
        find(streams, the_last_one, settings=GENERATED)
    return missing
