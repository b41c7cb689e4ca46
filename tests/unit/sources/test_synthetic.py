"""Synthetic ticks: the same from the same seed, and what ships is what the seed makes."""

import hashlib
import runpy
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parity.model.errors import ConfigError
from parity.model.ticks import COLUMNS
from parity.recording.reader import open_recording
from parity.sources.synthetic import SEED, TICKS, generate, make_recording

ROOT = Path(__file__).resolve().parents[3]


def _ticks(path: Path) -> dict[str, np.ndarray]:
    batches = [b.ticks for b in open_recording(path).batches()]
    return {n: np.concatenate([b.column(n) for b in batches]) for n in COLUMNS}


def test_a_seed_gives_the_same_bytes_everywhere() -> None:
    """The ticks of a seed are pinned: a changed generator moves goldens and must be meant."""
    _, records = generate(seed=7, ticks=5_000)

    digest = hashlib.blake2b(records.tobytes(), digest_size=16).hexdigest()

    assert digest == "3f99bd7ba054c93e7416ac75f7bdac2b"


def test_another_seed_gives_other_ticks() -> None:
    """The seed reaches times, prices and quantities."""
    one, other = generate(seed=1, ticks=500)[1], generate(seed=2, ticks=500)[1]

    for name in ("ts_event", "price_int", "quantity_int", "side"):
        assert (one[name] != other[name]).any(), name


@given(seed=st.integers(0, 2**64 - 1), short=st.integers(1, 400), more=st.integers(0, 700))
@settings(max_examples=25)
def test_fewer_ticks_are_a_prefix(seed: int, short: int, more: int) -> None:
    """Asking for more ticks changes none of those before."""
    _, few = generate(seed, short)
    _, many = generate(seed, short + more)

    assert few.tobytes() == many[:short].tobytes()


def test_the_ticks_are_a_market_that_strategies_can_speak_in() -> None:
    """Six hours, equal instants, rising arrival, unique ids, and both regimes present."""
    table, records = generate()

    assert len(records) == TICKS
    assert 5.5 < (records["ts_event"][-1] - records["ts_event"][0]) / 3.6e12 < 6.5
    assert 0.1 < (np.diff(records["ts_event"]) == 0).mean() < 0.4
    assert (np.diff(records["ts_recv"]) >= 0).all()
    assert (records["ts_recv"] > records["ts_event"]).all()
    for instrument in table:
        mine = records[records["instrument_token"] == instrument.token]
        assert len(np.unique(mine["trade_id"])) == len(mine) > TICKS // 3
        assert (mine["quantity_int"] > 0).all()
        change = mine["price_int"][20:] / mine["price_int"][:-20] - 1
        for threshold in (0.002, 0.005):
            assert 0.001 < (np.abs(change) > threshold).mean() < 0.15, threshold
        assert (change > 0.003).any()
        assert (change < -0.003).any()


def test_prices_stay_within_a_fifth_of_the_start() -> None:
    """However many ticks are asked for, no price nears zero."""
    _, records = generate(seed=3, ticks=300_000)

    low = records["price_int"][records["instrument_token"] == 900001]
    assert low.min() >= 80_00
    assert low.max() <= 120_00


@pytest.mark.parametrize(("seed", "ticks"), [(-1, 10), (2**64, 10), (1, 0)])
def test_nonsense_is_refused(seed: int, ticks: int) -> None:
    """A seed out of range or no ticks at all is a usage error."""
    with pytest.raises(ConfigError, match="expected"):
        generate(seed, ticks)


def test_a_recording_holds_what_was_generated(tmp_path: Path) -> None:
    """Every column of every tick comes back from the recording."""
    table, records = generate(seed=5, ticks=3_000)

    make_recording(tmp_path / "rec", seed=5, ticks=3_000)

    assert open_recording(tmp_path / "rec").table == table
    for name, column in _ticks(tmp_path / "rec").items():
        assert (column == records[name]).all(), name


def test_the_shipped_recording_is_what_the_script_makes(tmp_path: Path) -> None:
    """recordings/demo holds, tick for tick, what make_demo.py writes today."""
    script = runpy.run_path(str(ROOT / "recordings/make_demo.py"))

    script["main"]([str(tmp_path / "demo")])

    shipped, made = _ticks(ROOT / "recordings/demo"), _ticks(tmp_path / "demo")
    for name in COLUMNS:
        assert (shipped[name] == made[name]).all(), name
    assert open_recording(ROOT / "recordings/demo").manifest.created_by.startswith(
        f"synthetic seed={SEED}"
    )


def test_the_shipped_recording_is_small() -> None:
    """Everything under recordings/ stays below one megabyte."""
    total = sum(f.stat().st_size for f in (ROOT / "recordings").rglob("*") if f.is_file())

    assert total < 1_000_000
