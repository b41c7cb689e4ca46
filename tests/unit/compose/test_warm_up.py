"""A run that is warmed: from where, joined how, and that it says what one without a cut says."""

import datetime as dt
import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parity.compose.exports import Wanted, export
from parity.compose.feeds import Feed
from parity.compose.modes import Finished, backtest, paper
from parity.compose.proofs import verify
from parity.compose.service import StrategyRunnerService
from parity.compose.warming import ALL, WarmUp
from parity.model import ticks as flag
from parity.model.errors import ConfigError, InputRefused
from parity.model.events import EventBatch
from parity.model.extensions import PRESENT, Extension
from parity.model.instruments import Instrument, InstrumentTable
from parity.model.ticks import DUPLICATE, NO_TRADE_ID, WARMUP, TickBatch
from parity.model.values import MarketTick
from parity.recording.past import RecordedPast, keep_past
from parity.recording.reader import Recording, open_recording
from parity.recording.runs import RunFolder
from parity.recording.sequencer import Sequencer
from parity.recording.slices import needs_of
from parity.recording.writer import RecordingWriter
from parity.settings.drafts import StrategySpec
from parity.settings.strategies import load_strategies
from parity.sources import synthetic
from parity.testing.generators import TABLE as GENERATED
from parity.testing.generators import event_streams

if TYPE_CHECKING:
    from parity.model.protocols import HistoryProvider

TABLE, TICKS = synthetic.generate(seed=3, ticks=6_000)
CUT = 2_500  # rows that are past
LENGTH = 20
EVERY = ("candidates", "decisions")


def write(folder: Path, records: np.ndarray, table: InstrumentTable = TABLE) -> Path:
    """Write ticks as a recording."""
    with RecordingWriter(folder, table, order="ts_recv", created_by="test") as writer:
        made = Sequencer(table).sequence(records.copy())
        writer.append(TickBatch.from_records(made, table))
    return folder


@pytest.fixture(scope="module")
def specs() -> list[StrategySpec]:
    """Both tiers, without memory of what they said before."""
    overrides = [f"lookback_periods={LENGTH}", "threshold=0.001"]
    return load_strategies(["momentum", "momentum_kernel"], overrides)


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ticks up to the cut, as a recording."""
    return write(tmp_path_factory.mktemp("past") / "past", TICKS[:CUT])


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, specs: list[StrategySpec]) -> RunFolder:
    """A backtest that read all from the start."""
    folder = tmp_path_factory.mktemp("whole")
    return backtest(write(folder / "rec", TICKS), specs, out=folder / "run").run


def run(
    folder: Path,
    specs: list[StrategySpec],
    warm_up: WarmUp | None,
    live: np.ndarray = TICKS[CUT:],
    **more: Any,
) -> Finished:
    """Run on paper over the ticks behind the cut, warmed."""
    source = folder.parent / f"{folder.name}-live"
    if not source.exists():
        write(source, live)
    return paper(folder, specs, Feed(recording=source, warm_up=warm_up), table=TABLE, **more)


def said(of: RunFolder, stream: str, after: int) -> list[bytes]:
    """Return the records of candidates or decisions behind a seq."""
    return [row["record"] for row in of.rows(stream) if row["seq"] > after and row["record"]]


def recorded(of: RunFolder) -> np.ndarray:
    """Return the ticks of a run's recording."""
    with open_recording(of.recording_path) as recording:
        return np.concatenate([batch.ticks.to_records() for batch in recording.batches()])


def gaps(of: RunFolder) -> list[tuple[int, dict[str, Any]]]:
    """Return the gaps of a run's recording."""
    with open_recording(of.recording_path) as recording:
        return [(c.seq, c.detail) for c in recording.controls() if c.verb == "gap"]


@pytest.mark.parametrize("ticks", [ALL, None, 700])
def test_a_warmed_run_says_what_one_that_read_all_says(
    past: Path, whole: RunFolder, specs: list[StrategySpec], tmp_path: Path, ticks: int | str | None
) -> None:
    """From its first live tick, whatever is carried; nothing at the warm-up, and no gap."""
    warmed = run(tmp_path / "run", specs, WarmUp(past, ticks)).run

    ticks_kept = recorded(warmed)
    warm = (ticks_kept["flags"] & WARMUP) != 0
    count = {ALL: CUT, None: 2 * LENGTH, 700: 1400}[ticks]
    assert [True] * count + [False] * (len(TICKS) - CUT) == warm.tolist()
    assert [*range(1, len(warm) + 1)] == ticks_kept["seq"].tolist()
    assert said(whole, "candidates", CUT) == said(warmed, "candidates", 0)
    assert len(said(warmed, "candidates", 0)) > 100
    assert min(row["seq"] for row in warmed.rows("candidates")) > count
    active = [r for r in warmed.rows("decisions") if r["kind"] == "transition"]
    assert all(row["seq"] <= count for row in active)
    assert not gaps(warmed)
    assert "identical" == verify(warmed.path).verdict


def test_ticks_that_are_in_both_are_taken_once(
    past: Path, whole: RunFolder, specs: list[StrategySpec], tmp_path: Path
) -> None:
    """A live stream that begins amid the past is joined by trade id."""
    warmed = run(tmp_path / "run", specs, WarmUp(past, ALL), TICKS[CUT - 60 :]).run

    ticks = recorded(warmed)
    double = (ticks["flags"] & DUPLICATE) != 0
    assert [*range(CUT, CUT + 60)] == np.flatnonzero(double).tolist()
    assert said(whole, "candidates", CUT) == said(warmed, "candidates", 0)
    assert not gaps(warmed)


@pytest.mark.parametrize("why", ["later", "without ids"])
def test_a_gap_stands_where_live_ticks_cannot_be_told_to_follow(
    past: Path, specs: list[StrategySpec], tmp_path: Path, why: str
) -> None:
    """One before the first live tick of each instrument, and it replays."""
    live = TICKS[CUT + 50 :].copy() if why == "later" else TICKS[CUT:].copy()
    if why == "without ids":
        live["flags"] |= NO_TRADE_ID
        live["trade_id"] = 0
    warmed = run(tmp_path / "run", specs, WarmUp(past), live).run

    ticks, found = recorded(warmed), gaps(warmed)
    fresh = ticks[(ticks["flags"] & WARMUP) == 0]
    first = {
        int(t): int(fresh["seq"][fresh["instrument_token"] == t][0]) for t in TABLE.tokens.tolist()
    }
    assert {detail["instrument_token"]: seq + 1 for seq, detail in found} == first
    assert {"warm_up"} == {detail["reason"] for _, detail in found}
    assert "identical" == verify(warmed.path).verdict


class Killed(Exception):
    """The end of a runner, wherever it was."""


@pytest.mark.parametrize("at", [1_000, CUT, CUT + 1_000])
def test_a_run_that_ended_amid_its_warm_up_goes_on_there(
    past: Path, whole: RunFolder, specs: list[StrategySpec], tmp_path: Path, at: int
) -> None:
    """Nothing is doubled or left out, though the source is gone; a warm one is not warmed again."""

    def end(counts: dict[str, int]) -> None:
        if counts["ticks"] >= at:
            raise Killed

    source = tmp_path / "source"
    write(source, TICKS[:CUT])
    asked = WarmUp(source, ALL)
    with pytest.raises(Killed):
        run(tmp_path / "run", specs, asked, checkpoint_ticks=700, progress=end)
    source.rename(tmp_path / "gone")
    warmed = run(tmp_path / "run", specs, asked, checkpoint_ticks=700).run

    assert TICKS["trade_id"].tolist() == recorded(warmed)["trade_id"].tolist()
    assert CUT == int(((recorded(warmed)["flags"] & WARMUP) != 0).sum())
    assert len(said(whole, "candidates", CUT)) == len(said(warmed, "candidates", 0))
    assert not gaps(warmed)
    before = recorded(warmed)
    again = run(tmp_path / "run", specs, asked).run
    assert before.tolist() == recorded(again).tolist()
    assert "identical" == verify(again.path).verdict


def test_an_instrument_that_is_late_to_come_is_told_after_a_restart(
    past: Path, specs: list[StrategySpec], tmp_path: Path
) -> None:
    """A restart knows whose first live tick is still to come, and marks no other."""
    one, two = TABLE.tokens.tolist()
    rest = TICKS[CUT + 50 :]
    live = np.concatenate([rest[rest["instrument_token"] == t] for t in (one, two)])
    alone = int((rest["instrument_token"] == one).sum())

    def end(counts: dict[str, int]) -> None:
        if counts["ticks"] >= 2 * LENGTH + 1_000:
            raise Killed

    assert alone > 1_000
    with pytest.raises(Killed):
        run(tmp_path / "run", specs, WarmUp(past), live, progress=end)
    found = run(tmp_path / "run", specs, None, live).run

    assert [one, two] == [detail["instrument_token"] for _, detail in gaps(found)]


@pytest.mark.parametrize("form", ["csv", "run"])
def test_what_is_exported_warms_a_run(
    past: Path, whole: RunFolder, specs: list[StrategySpec], tmp_path: Path, form: str
) -> None:
    """A file of an export, and a run by the recording it read."""
    source = tmp_path / f"source.{form}"
    if form == "run":
        backtest(past, specs, out=source)
    else:
        export(past, source, Wanted(form=form))
    warmed = run(tmp_path / "run", specs, WarmUp(str(source))).run

    assert said(whole, "candidates", CUT) == said(warmed, "candidates", 0)
    assert not gaps(warmed)
    assert [] == [p.name for p in warmed.path.iterdir() if p.name.endswith(".part")]


class Mine:
    """A provider of somebody's own, with the ticks of another instrument where asked to."""

    def __init__(self, wrong: bool = False) -> None:
        self.asked: list[tuple[int, int]] = []
        self.wrong = wrong

    def last_ticks(self, token: int, count: int) -> EventBatch:
        """Return them."""
        self.asked.append((token, count))
        own = TICKS[:CUT][(TICKS[:CUT]["instrument_token"] == token) != self.wrong]
        return EventBatch(TickBatch.from_records(own[-count:].copy(), TABLE))


def test_a_providers_ticks_warm_a_run(
    whole: RunFolder, specs: list[StrategySpec], tmp_path: Path
) -> None:
    """It is asked for what the strategies need, and what it gives is joined like any past."""
    mine: HistoryProvider = Mine()
    warmed = run(tmp_path / "run", specs, WarmUp(mine)).run

    assert [(token, LENGTH) for token in TABLE.tokens.tolist()] == mine.asked
    assert said(whole, "candidates", CUT) == said(warmed, "candidates", 0)
    assert not gaps(warmed)
    assert "Mine" == warmed.manifest.settings["warm_up"]
    with pytest.raises(InputRefused, match=r"Mine.last_ticks\(900001, 20\): it gave ticks of ins"):
        run(tmp_path / "other", specs, WarmUp(Mine(wrong=True)))
    with pytest.raises(ConfigError, match="all ticks of a HistoryProvider"):
        run(tmp_path / "third", specs, WarmUp(mine, ALL))


def test_a_recording_is_a_provider(past: Path) -> None:
    """Its last ticks of an instrument, in their order, as many as there are."""
    with open_recording(past) as recording:
        mine: HistoryProvider = RecordedPast(recording)
        for token in TABLE.tokens.tolist():
            own = TICKS[:CUT][TICKS[:CUT]["instrument_token"] == token]
            for count in (1, 7, 10_000):
                found = mine.last_ticks(token, count).ticks
                assert own["trade_id"][-count:].tolist() == found.column("trade_id").tolist()
        with pytest.raises(ConfigError, match="77"):
            mine.last_ticks(77, 1)


def test_of_a_long_recording_only_its_end_is_read_whole(
    past: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the time of the earliest tick that is kept, also where that one came late."""
    read, batches = [], Recording.batches

    def counted(self: Recording, **asked: Any) -> Iterator[EventBatch]:
        for batch in batches(self, **asked):
            read.append((asked.get("columns") is None, len(batch.ticks)))
            yield batch

    monkeypatch.setattr(Recording, "batches", counted)
    with open_recording(past) as recording:
        assert 7 == len(RecordedPast(recording).last_ticks(int(TABLE.tokens[0]), 7).ticks)
    assert 7 <= sum(rows for whole, rows in read if whole) < 20  # some stand in time among them


def by_hand(records: np.ndarray) -> Iterator[MarketTick]:
    """Yield ticks as a caller with a loop of its own has them."""
    for one in records:
        token = int(one["instrument_token"])
        price = Decimal(int(one["price_int"])).scaleb(-TABLE.by_token(token).price_scale)
        at = dt.datetime.fromtimestamp(int(one["ts_event"]) // 10**9, dt.UTC)
        yield MarketTick(token, price, at)


def test_a_service_is_warmed_by_a_provider() -> None:
    """It says at once what one that was fed every tick says."""
    warm, fed = (StrategyRunnerService(instruments=TABLE) for _ in range(2))
    row = {"strategy_type": "momentum", "parameters": {"threshold": 0.0}, "id": "m"}
    for service in (warm, fed):
        service.register_from_config(row | {"instruments": TABLE.tokens.tolist()})
    for tick in by_hand(TICKS[CUT - 200 : CUT]):
        fed.on_market_tick(tick)

    assert 2 * LENGTH == warm.warm_up(Mine())
    said = [(warm.on_market_tick(t), fed.on_market_tick(t)) for t in by_hand(TICKS[CUT:][:300])]
    assert all(one == two for one, two in said)
    assert any(one for one, _ in said[:LENGTH])
    with pytest.raises(ConfigError, match="before the first tick"):
        warm.warm_up(Mine())


def other(change: Callable[[Instrument], Instrument], folder: Path) -> Path:
    """Write a past under another table."""
    import msgspec

    table = InstrumentTable(change(msgspec.structs.replace(one)) for one in TABLE)
    records = TICKS[:10].copy()
    records["instrument_token"] = next(one.token for one in table)
    return write(folder, records, table)


def test_a_source_that_does_not_fit_is_refused_and_leaves_no_run(
    specs: list[StrategySpec], tmp_path: Path
) -> None:
    """Other decimals, other instruments, nothing there, no amount of a broker's past."""
    import msgspec

    scale = other(lambda i: msgspec.structs.replace(i, price_scale=5), tmp_path / "scale")
    token = other(lambda i: msgspec.structs.replace(i, token=i.token + 9), tmp_path / "token")
    for source, words in (
        (scale, "a price of 5 decimals there, and of 2"),
        (token, "none of the run's instruments"),
        (tmp_path / "nowhere", "nowhere does not exist"),
        ("broker", "how much of the broker's past is 'broker'"),
        ("broker:2y", "how much of the broker's past"),
        ("broker:2h", "has no broker"),
    ):
        with pytest.raises(ConfigError, match=words):
            run(tmp_path / "run", specs, WarmUp(source))
        assert not (tmp_path / "run").exists()


@settings(max_examples=15)
@given(event_streams(max_ticks=60), st.integers(1, 9))
def test_the_last_ticks_are_the_last_that_strategies_are_shown(
    events: EventBatch, count: int
) -> None:
    """Trades and quotes each counted for themselves, gaps between them kept, in their order."""
    with tempfile.TemporaryDirectory() as folder:
        rec, kept = Path(folder) / "rec", Path(folder) / "kept"
        with RecordingWriter(rec, GENERATED, order="arrival", created_by="test") as writer:
            writer.append(events.ticks, events.controls)
        rows = events.ticks.to_records()
        with open_recording(rec) as recording:
            wanted = set()
            for token in GENERATED.tokens.tolist():
                own = plain_last(rows, token, count)
                wanted |= own
                found = RecordedPast(recording).last_ticks(token, count).ticks
                assert sorted(own) == found.column("seq").tolist()
                assert bool(((found.column("flags") & np.uint32(WARMUP)) != 0).all())
            needs = needs_of(count, GENERATED.tokens.tolist())
            keep_past(recording, kept, GENERATED, needs, created_by="test", origin={})
        with open_recording(kept) as past:
            batches = list(past.batches())
            ticks = np.concatenate([b.ticks.to_records() for b in batches])
            gaps = [c for b in batches for c in b.controls]
    expected = rows[np.isin(rows["seq"], sorted(wanted))]
    assert expected["ts_event"].tolist() == ticks["ts_event"].tolist()
    assert expected["price_int"].tolist() == ticks["price_int"].tolist()
    behind = [c.seq for c in events.controls if wanted and c.seq > min(wanted)]
    assert behind == [gap.detail["original_seq"] for gap in gaps]


def plain_last(rows: np.ndarray, token: int, count: int) -> set[int]:
    """Return the seqs of an instrument's last trades and last quotes, row by row."""
    trades, quotes = [], []
    for row in rows:
        bits = int(row["flags"])
        if row["instrument_token"] != token or bits & (flag.DUPLICATE | flag.SKEWED):
            continue
        if bits & (flag.TRADE | flag.INDEX | flag.SNAPSHOT) and not bits & flag.NO_PRICE:
            trades.append(int(row["seq"]))
        if bits & flag.QUOTE and not bits & (flag.NO_BID | flag.NO_ASK):
            quotes.append(int(row["seq"]))
    return {*trades[-count:], *quotes[-count:]}


def test_extension_columns_come_along_where_both_tables_have_them(tmp_path: Path) -> None:
    """Equal ones keep value and absence, others are absent; in either direction."""
    lots, orders = Extension("lots", "quantity"), Extension("orders", "integer")
    theirs = InstrumentTable(TABLE, (orders, lots))
    ours = InstrumentTable(TABLE, (Extension("notes", "integer"), lots))
    records = np.zeros(4, theirs.tick_dtype)
    for name in TICKS.dtype.names:
        records[name] = TICKS[:4][name]
    records["lots_int"], records["orders"] = (7, 0, 9, 0), (1, 2, 3, 4)
    bit = {name: theirs.columns.bits[name] for name in ("lots_int", "orders")}
    records[PRESENT] = [sum(bit.values()), bit["orders"], bit["lots_int"], 0]
    needs = needs_of(9, TABLE.tokens.tolist())
    write(tmp_path / "rec", records, theirs)
    with open_recording(tmp_path / "rec") as recording:
        for table, name in ((ours, "ours"), (TABLE, "none")):
            keep_past(recording, tmp_path / name, table, needs, created_by="t", origin={})
    with open_recording(tmp_path / "ours") as past, open_recording(tmp_path / "none") as bare:
        (batch,) = list(past.batches())
        found = batch.ticks.to_records()
        assert TICKS["trade_id"][:4].tolist() == found["trade_id"].tolist()
        assert 4 == bare.tick_rows
    own = ours.columns.bits["lots_int"]
    assert [own, 0, own, 0] == found[PRESENT].tolist()
    assert [7, 0, 9, 0] == found["lots_int"].tolist()
    assert [0, 0, 0, 0] == found["notes"].tolist()


def test_a_run_stopped_amid_its_warm_up_goes_on_there(
    specs: list[StrategySpec], tmp_path: Path
) -> None:
    """SIGTERM seals what there is; the next start feeds the rest of the past, then what is live."""
    asked_to: list[bool] = []

    def ask(counts: dict[str, int]) -> None:
        if not asked_to and counts["ticks"]:
            asked_to.append(True)
            os.kill(os.getpid(), signal.SIGTERM)

    asked, last = WarmUp(write(tmp_path / "past", TICKS), ALL), TICKS[-10:]
    stopped = run(tmp_path / "run", specs, asked, last, progress=ask).run
    assert 0 < len(recorded(stopped)) < len(TICKS)
    went_on = run(tmp_path / "run", specs, asked, last).run

    ids = [*TICKS["trade_id"].tolist(), *last["trade_id"].tolist()]
    assert ids == recorded(went_on)["trade_id"].tolist()
    assert len(TICKS) == int(((recorded(went_on)["flags"] & WARMUP) != 0).sum())
    assert not gaps(went_on)
    assert "identical" == verify(went_on.path).verdict
