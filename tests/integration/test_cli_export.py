"""`parity export`: slices as fixtures, rows for other programs, refusals that leave nothing."""

import csv
import json
import subprocess
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from parity.cli import app
from parity.compose.exports import Wanted, export
from parity.model.events import Control
from parity.recording.reader import open_recording
from parity.recording.writer import RecordingWriter
from parity.testing.generators import TABLE, dummy_batch

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "recordings/demo"
START, END = "2025-01-06T09:30:00Z", "2025-01-06T10:30:00Z"
RUNNER = CliRunner(env={"NO_COLOR": "1", "COLUMNS": "120"})

Cli = Callable[..., subprocess.CompletedProcess[str]]


def run(*arguments: object) -> tuple[int, str, str]:
    """Return exit code, stdout and stderr of a command."""
    done = RUNNER.invoke(app, [str(argument) for argument in arguments])
    return done.exit_code, done.stdout, done.stderr


def ok(*arguments: object) -> dict[str, Any]:
    """Return the JSON of a command that succeeds."""
    code, shown, said = run(*arguments, "--json")
    assert code == 0, said
    found = json.loads(shown)
    assert isinstance(found, dict)
    return found


@pytest.fixture(scope="module")
def momentum_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A backtest over the demo."""
    out = tmp_path_factory.mktemp("runs") / "momentum"
    ok("backtest", DEMO, "-s", "momentum", "--set", "threshold=0.003", "--out", out)
    return out


def signals(run_folder: Path, to: Path, *more: object) -> list[dict[str, str]]:
    """Return the exported signals without what belongs to the run: seq, numbers and ids."""
    ok("export", run_folder, to, "--what", "signals", *more)
    own = {"run_id", "seq", "signal_no", "signal_id"}
    with to.open() as file:
        return [{k: v for k, v in r.items() if k not in own} for r in csv.DictReader(file)]


def test_a_slice_is_a_fixture(cli: Cli, tmp_path: Path, momentum_run: Path) -> None:
    """A slice gives the whole run's signals, bit for bit, and its backtest verifies."""
    (tmp_path / "run").symlink_to(momentum_run)
    lines = (
        (
            "export",
            momentum_run,
            "slice",
            "--start",
            START,
            "--end",
            END,
            "--instruments",
            "900001",
        ),
        ("inspect", "slice"),
        ("backtest", "slice", "-s", "momentum", "--set", "threshold=0.003", "--out", "again"),
        ("verify", "again"),
    )
    done = [cli(*line, cwd=tmp_path) for line in lines]

    assert [0] * 4 == [one.returncode for one in done], [one.stderr for one in done]
    assert done[-1].stdout.startswith("identical: ")
    whole = signals(momentum_run, tmp_path / "a.csv", "--start", START, "--end", END,
                    "--instruments", "900001")  # fmt: skip
    assert whole == signals(tmp_path / "again", tmp_path / "b.csv")
    assert len(whole) > 20


def test_the_slice_says_where_it_is_from(tmp_path: Path) -> None:
    """Its manifest names recording, seq range and request; each tick keeps its seq as a column."""
    found = ok("export", DEMO, tmp_path / "slice", "--start", START, "--end", END, "--warmup", 7)
    made = open_recording(tmp_path / "slice")
    ticks = made.ticks().collect()

    assert 14 == found["warm_up"]
    assert [] == found["warnings"]
    assert open_recording(DEMO).manifest.recording_id == made.manifest.origin["recording_id"]
    assert found["seqs"] == [made.manifest.origin["first_seq"], made.manifest.origin["last_seq"]]
    assert ticks["original_seq"].to_list()[-1] == found["seqs"][1]
    assert ticks["seq"].to_list() == list(range(1, found["ticks"] + 15))
    assert made.sql("select original_seq from ticks limit 1").fetchall() == [
        (ticks["original_seq"][0],)
    ]
    again = ok("export", tmp_path / "slice", tmp_path / "part", "--start", "2025-01-06T10:00:00Z")
    assert (
        open_recording(tmp_path / "part").ticks().collect()["original_seq"][-1] == found["seqs"][1]
    )
    assert again["source_recording_id"] == made.manifest.recording_id


def test_the_same_slice_is_the_same_recording(tmp_path: Path) -> None:
    """Made twice, its parts and its id are equal."""
    ids = {
        ok("export", DEMO, tmp_path / name, "--start", START, "--warmup", 3)["recording_id"]
        for name in "ab"
    }
    parts = [(tmp_path / name / "ticks/000000000001.parquet").read_bytes() for name in "ab"]

    assert len(ids) == 1
    assert parts[0] == parts[1]


def test_controls_of_the_range_come_along(tmp_path: Path) -> None:
    """Gaps between the ticks of a slice are in it, numbered among them; others are not."""
    controls = [Control(seq=s, ts_recv=0, verb="gap", detail={"n": s}) for s in (2, 5, 8)]
    events = dummy_batch(6, seq=[1, 3, 4, 6, 7, 9], controls=controls)
    with RecordingWriter(tmp_path / "rec", TABLE, order="arrival", created_by="t") as writer:
        writer.append(events.ticks, events.controls)
    times = events.ticks.column("ts_event").tolist()
    found = ok("export", tmp_path / "rec", tmp_path / "s", "--start", times[1], "--end", times[4])

    assert (3, 1) == (found["ticks"], found["controls"])
    (gap,) = open_recording(tmp_path / "s").controls()
    assert (3, {"original_seq": 5, "n": 5}) == (gap.seq, gap.detail)


def test_rows_are_exact(tmp_path: Path, momentum_run: Path) -> None:
    """Decimal types in Parquet, decimal text in CSV, times as asked for, ids and symbols."""
    where = ("--start", START, "--end", END)
    ok("export", DEMO, tmp_path / "t.parquet", *where)
    ok("export", DEMO, tmp_path / "t.csv", *where, "--times", "ns")
    table = pq.read_table(tmp_path / "t.parquet")
    with (tmp_path / "t.csv").open() as file:
        rows = list(csv.DictReader(file))

    assert "decimal128(18, 2)" == str(table.schema.field("price").type)
    assert "timestamp[ns, tz=UTC]" == str(table.schema.field("ts_event").type)
    assert table["price"].to_pylist() == [Decimal(row["price"]) for row in rows]
    assert table["bid"].null_count == len(rows)
    assert {row["bid"] for row in rows} == {""}
    assert {row["price"][::-1].find(".") for row in rows if row["symbol"] == "SYNB"} == {1}
    assert table["ts_event"].cast("int64").to_pylist() == [int(row["ts_event"]) for row in rows]

    ok("export", momentum_run, tmp_path / "s.parquet", "--what", "signals")
    shown = pl.read_parquet(tmp_path / "s.parquet")
    assert {"run_id", "signal_no", "signal_id", "seq", "ordinal"} <= set(shown.columns)
    assert isinstance(shown.schema["price"], pl.Decimal)
    for what in ("decisions", "fills"):
        found = ok("export", momentum_run, tmp_path / f"{what}.csv", "--what", what)
        assert found["rows"] == len((tmp_path / f"{what}.csv").read_text().splitlines()) - 1


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--start", "2030-01-01T00:00:00Z"), 2, "its ticks are from 2025-01-06T09:00:00.365"),
        (("--start", "2025-01-06T09:30:00"), 2, "has no time zone"),
        (("--start", "2025-03-30T02:30:00", "--tz", "Europe/Berlin"), 2, "is never in Europe"),
        (("--start", "2025-10-26T02:30:00", "--tz", "Europe/Berlin"), 2, "is twice in Europe"),
        (("--start", START, "--end", START), 2, "is not after --start"),
        (("--start", START, "--warmup", "auto"), 2, "--strategies FILE"),
        (("--start", START, "--warmup", "many"), 2, "expected a number of ticks or auto"),
        (("--warmup", "5"), 2, "without --start"),
        (("--instruments", "1"), 2, "instrument token 1 is not in the instrument table"),
        (("--what", "signals"), 2, "are no recording"),
        (("--what", "signals", "--to", "csv"), 2, "is a recording, which holds none"),
        (("--what", "tikcs"), 2, "did you mean 'ticks'"),
        (("--to", "xlsx"), 2, "--to: 'xlsx' is not known"),
    ],
)
def test_a_refusal_names_its_cure_and_leaves_nothing(
    tmp_path: Path, arguments: tuple[str, ...], code: int, words: str
) -> None:
    """Nothing is left in the folder of OUT, not even a temporary name."""
    done = run("export", DEMO, tmp_path / "out", *arguments)

    assert code == done[0]
    assert words in done[2].replace("\n", " ")
    assert [] == list(tmp_path.iterdir())


def test_what_is_there_is_not_touched(tmp_path: Path) -> None:
    """An OUT that exists is refused, whatever form is asked for."""
    for name in ("rec", "t.csv"):
        (tmp_path / name).write_text("mine")
        code, _, said = run("export", DEMO, tmp_path / name)
        assert (2, "mine") == (code, (tmp_path / name).read_text())
        assert "exists already" in said


def test_a_local_time_with_its_zone_is_taken(tmp_path: Path) -> None:
    """--tz reads a time without a zone."""
    found = ok(
        "export", DEMO, tmp_path / "s", "--start", "2025-01-06T15:00", "--tz", "Asia/Kolkata"
    )

    assert "2025-01-06T09:30:00.000000000Z" == found["range"]["start"]


def test_auto_of_a_recording_takes_the_strategies_given(tmp_path: Path) -> None:
    """Momentum over 20 ticks needs 20 of each instrument."""
    found = ok(
        "export", DEMO, tmp_path / "s", "--start", START, "--warmup", "auto", "-s", "momentum"
    )

    assert 40 == found["warm_up"]


def test_one_event_with_its_neighbours(momentum_run: Path) -> None:
    """Inspect --at: every column exact, by seq or time; of a run what it decided there."""
    first = ok("inspect", momentum_run, "--at", 822)
    tick = {one["seq"]: one for one in first["events"]}[822]

    assert [820, 821, 822, 823, 824] == [one["seq"] for one in first["events"]]
    assert ("100.54", "0.480", "SYNA", None) == tuple(
        tick[n] for n in ("price", "quantity", "symbol", "bid")
    )
    assert ["fill", "approved"] == [one["kind"] for one in first["decisions"]]
    assert "momentum" == first["candidates"][0]["strategy_id"]
    by_time = ok("inspect", DEMO, "--at", tick["ts_event"])
    assert (822, first["events"]) == (by_time["seq"], by_time["events"])
    assert "decisions" not in by_time
    code, shown, _ = run("inspect", momentum_run, "--at", "822")
    assert code == 0
    assert "signal_id" in shown
    words = shown.split()
    assert words.count("SELL") + words.count("BUY") >= 3  # of candidate, decision and fill
    assert words[words.index("candidate") :].count(tick["ts_event"]) == 3  # an instant, not ns
    for at, words in (("40001", "no event of seq 40001"), ("2030-01-01T00:00:00Z", "no tick at")):
        code, _, said = run("inspect", DEMO, "--at", at)
        assert (2, True) == (code, words in said.replace("\n", " ")), said


def test_a_control_is_shown_at_its_seq(tmp_path: Path) -> None:
    """Controls have a place among the ticks."""
    gap = Control(seq=2, ts_recv=5, verb="gap", detail={"reason": "skipped"})
    events = dummy_batch(2, seq=[1, 3], controls=[gap])
    with RecordingWriter(tmp_path / "rec", TABLE, order="arrival", created_by="t") as writer:
        writer.append(events.ticks, events.controls)
    found = ok("inspect", tmp_path / "rec", "--at", 2)

    assert ["gap"] == [one["verb"] for one in found["events"] if one["seq"] == 2]
    assert "skipped" in run("inspect", tmp_path / "rec", "--at", "2")[1]


@pytest.mark.parametrize("name", ["rec", "t.csv", "t.parquet"])
def test_an_interrupt_leaves_nothing_behind(tmp_path: Path, name: str) -> None:
    """Stopped while it writes, there is no OUT, and no half of one under another name."""
    calls = 0

    def interrupted(done: int, total: int) -> None:
        nonlocal calls
        calls += 1
        if any(tmp_path.iterdir()):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(DEMO, tmp_path / name, Wanted(), interrupted)
    assert calls > 0
    assert [] == list(tmp_path.iterdir())
