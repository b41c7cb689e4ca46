"""Which strategies a runner of some partitions admits, and how it says which partitions it has."""

from pathlib import Path
from typing import Any

import pytest

from parity.compose.feeds import Feed
from parity.compose.modes import paper
from parity.compose.operating import introduce_from
from parity.compose.plans import prepare
from parity.compose.shards import Shard, admitting
from parity.model.errors import ConfigError
from parity.settings.strategies import load_strategies
from parity.sources import synthetic

ROW = "- {strategy_id: m, strategy_type: momentum, instruments: [%s]}\n"
COUNTS = {"t": 6}


def shard(*partitions: int, counts: dict[str, int] = COUNTS) -> Shard:
    """Return a shard of one topic; 900001 is on its partition 2, 900002 on 0."""
    return Shard(partitions, counts, "consistent_random", lambda: counts)


def admit(shard: Shard | None, path: Path, instruments: str) -> None:
    """Ask whether a strategy of these instruments may run."""
    path.write_text("strategies:\n" + ROW % instruments)
    plans = prepare(load_strategies([str(path)], [])).plans
    admitting(shard, synthetic.TABLE)(plans)


def test_a_strategy_runs_where_all_its_partitions_are(tmp_path: Path) -> None:
    """One instrument needs one partition, two may need both, and without a shard all is there."""
    path = tmp_path / "rows.yaml"
    admit(shard(2), path, "900001")
    admit(shard(0, 2), path, "900001, 900002")
    admit(None, path, "900001, 900002")
    for pins in ((2,), (0,), (1, 3)):
        with pytest.raises(ConfigError, match=r"t \(6\), and m needs 0,2: "):
            admit(shard(*pins), path, "900001, 900002")


def test_topics_of_other_counts_need_the_partition_of_each(tmp_path: Path) -> None:
    """An instrument on 2 of six and on 0 of four: both have to be there."""
    counts = {"t": 6, "u": 4}
    needed = shard(0, counts=counts).partitions_of(900001)
    assert [0, 2] == needed
    admit(shard(*needed, counts=counts), tmp_path / "rows.yaml", "900001")
    with pytest.raises(ConfigError, match="m needs"):
        admit(shard(2, counts=counts), tmp_path / "rows.yaml", "900001")


def test_a_strategy_that_comes_later_has_to_fit_too(tmp_path: Path) -> None:
    """A replacement on another shard's instruments is refused before anything of it is kept."""
    path = tmp_path / "rows.yaml"
    path.write_text("strategies:\n" + ROW % 900002)
    nowhere: Any = None
    with pytest.raises(ConfigError, match=r"m needs 0: SYNB \(900002\) on 0"):
        introduce_from(nowhere, "m", str(path), (), admitting(shard(2), synthetic.TABLE))


def test_partitions_are_of_topics(tmp_path: Path) -> None:
    """A recording at a pace has none to pin."""
    feed = Feed(recording=tmp_path, partitions=(0,))
    with pytest.raises(ConfigError, match="--partitions: it goes with topics"):
        paper(tmp_path / "run", [], feed, table=synthetic.TABLE)
