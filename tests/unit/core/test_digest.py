"""Canonical bytes: the same for the same value, others for any other; and what hangs on them."""

import math
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parity.core.digest import (
    DEPTH_MAX,
    Chain,
    canonical,
    pack_head,
    plain,
    signal_id,
    signal_prefix,
)
from parity.core.engine import run_digest
from parity.core.rng import TickStream, stream_key
from parity.model.errors import ConfigError

leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.decimals(allow_nan=False, allow_infinity=False, places=3)
)
values = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


def tagged(value: Any) -> Any:
    """Return a value that is equal for exactly the values that count as the same."""
    if isinstance(value, dict):
        return ("map", frozenset((k, tagged(v)) for k, v in value.items()))
    if isinstance(value, list | tuple):
        return ("list", tuple(tagged(v) for v in value))
    if isinstance(value, float):
        return ("float", "nan" if math.isnan(value) else float(value) + 0.0)
    return (type(value).__name__, value)


@given(values, values)
def test_canonical_bytes_are_injective(a: Any, b: Any) -> None:
    """Two values have the same bytes exactly where they are the same, types included."""
    assert (tagged(a) == tagged(b)) == (canonical(a) == canonical(b))


@given(values)
def test_a_plain_copy_has_the_same_bytes(value: Any) -> None:
    """Copying a value for safe keeping changes nothing of its record."""
    assert canonical(value) == canonical(plain(value))


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        (-0.0, 0.0, True),
        (math.nan, -math.nan, True),
        (Decimal("1.50"), Decimal("1.5"), True),
        (Decimal("-0.0"), Decimal(0), True),
        (Decimal("1E+2"), Decimal(100), True),
        (Decimal("0." + "1" * 40), Decimal("0." + "1" * 39 + "2"), False),
        ((1, 2), [1, 2], True),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True),
        (1, 1.0, False),
        (1, True, False),
        (1, "1", False),
        (Decimal(1), 1, False),
        (None, False, False),
        ([["a"], "b"], [["a", "b"]], False),
        (["ab", "c"], ["a", "bc"], False),
        ({"a": [1]}, {"a": 1}, False),
        ([], {}, False),
        (np.float64(2.5), 2.5, True),
    ],
)
def test_what_counts_as_the_same(a: Any, b: Any, same: bool) -> None:
    """Signs of zero, NaN payloads, key order and trailing zeros do not count; types do."""
    assert same == (canonical(a) == canonical(b))


def test_what_is_not_plain_is_refused() -> None:
    """A message names the type or the key, and the depth has a limit."""
    deep: Any = []
    for _ in range(DEPTH_MAX + 1):
        deep = [deep]
    for value, message in (
        ({1}, "type set"),
        (np.int64(1), r"type int64.*\.item"),
        (b"x", "type bytes"),
        ({1: 2}, "key 1 is not text"),
        (deep, f"deeper than {DEPTH_MAX}"),
    ):
        with pytest.raises(ConfigError, match=message):
            canonical(value)


def test_the_head_of_a_record_knows_one_zero_and_one_nan() -> None:
    """Floats enter by their bits, -0.0 as 0.0 and every NaN as one."""
    assert pack_head(1, 2, -1, 1, -0.0, -math.nan, 0.5) == pack_head(
        1, 2, -1, 1, 0.0, math.nan, 0.5
    )
    assert pack_head(1, 2, 0, 1, 0.1, 1.0, 0.5) != pack_head(
        1, 2, 0, 1, math.nextafter(0.1, 1), 1.0, 0.5
    )


@given(st.lists(st.binary(max_size=9), max_size=6), st.lists(st.binary(max_size=9), max_size=6))
def test_a_chain_tells_sequences_apart(a: list[bytes], b: list[bytes]) -> None:
    """Two chains agree exactly where their records do, and one can be taken up again."""
    one, other = Chain(), Chain()
    for record in a:
        one.add(record)
    for record in b:
        other = Chain(other.value, other.count)
        other.add(record)

    assert (a == b) == ((one.hex, one.count) == (other.hex, other.count))


def test_a_run_digest_has_its_own_order() -> None:
    """The run's digest covers (strategy, broker, digest) sorted, however they are given."""
    parts = [("b", "paper", "00"), ("a", "paper", "11")]

    assert run_digest(parts) == run_digest(parts[::-1])
    assert run_digest(parts) != run_digest([("b", "paper", "11"), ("a", "paper", "00")])


def test_signal_ids_round_nothing() -> None:
    """Each part of a signal's identity counts, to the last bit; the id is the same everywhere."""

    def identity(strategy_id: str, broker: str, *rest: Any) -> str:
        return signal_id(signal_prefix(strategy_id, broker), *rest)

    parts: list[Any] = ["s", "paper", 101, 1, 100.1, 5, 1]
    ids = {identity(*parts)}
    for n, other in enumerate(["t", "live", 102, -1, math.nextafter(100.1, 0), 6, 2]):
        ids.add(identity(*parts[:n], other, *parts[n + 1 :]))

    assert 8 == len(ids)
    assert "783fb30b8edc0f609014b443bcef0ff9" == identity(*parts)
    assert 32 == len(identity(*parts))


@given(st.integers(0, 2**62), st.integers(0, 5), st.integers(0, 2**31))
def test_a_ticks_stream_is_numpys_philox(ts_event: int, ordinal: int, seed: int) -> None:
    """The words are those of numpy's Philox with the same key and counter."""
    key = stream_key(seed, "s", 101)
    stream = TickStream(key, ts_event, ordinal)
    # numpy steps its counter before it makes a block
    start = (ts_event | ordinal << 64) - 1
    counters = []
    for block in range(3):
        at = start + (block << 128)
        philox = np.random.Philox(counter=at % (1 << 256), key=key[0] | key[1] << 64)
        counters += philox.random_raw(4).tolist()

    assert counters == [stream.raw() for _ in range(12)]


def test_draws_belong_to_their_tick() -> None:
    """Another tick, ordinal, strategy, token or seed is another stream; bounds are kept."""
    keys = {stream_key(*k) for k in ((0, "s", 1), (1, "s", 1), (0, "t", 1), (0, "s", 2))}
    key = stream_key(0, "s", 1)
    words = {TickStream(key, ts, n).raw() for ts in (1, 2) for n in (0, 1)}
    stream = TickStream(key, 1, 0)

    assert 4 == len(keys) == len(words)
    assert all(0.0 <= stream.uniform() < 1.0 for _ in range(100))
    assert set(range(3)) == {stream.below(3) for _ in range(100)}
    for bound in (0, -1, (1 << 32) + 1):
        with pytest.raises(ValueError, match="bound"):
            stream.below(bound)
