"""`parity diff RUN --against FILE`: an old runner, played by edited messages of a paper run."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from parity.analysis import frames
from parity.cli import app
from parity.compose import others
from parity.live import delivery
from parity.model.ticks import TickBatch
from parity.recording.runs import RunFolder
from parity.recording.sequencer import Sequencer
from parity.recording.writer import RecordingWriter
from parity.sources.synthetic import generate, make_recording

RUNNER = CliRunner(env={"NO_COLOR": "1", "PARITY_CHECKPOINT_TICKS": "500"})


@pytest.fixture(scope="module")
def many_parts() -> Iterator[None]:
    """Let runs of a moment flush as often as they are told: waits take no part of their time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(delivery, "WAITS_EACH", 0)
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, many_parts: None) -> Path:
    """A paper run whose signals went to a file."""
    folder = tmp_path_factory.mktemp("against")
    make_recording(folder / "rec", seed=7, ticks=3_000)
    rules = ("-s", "momentum", "--set", "threshold=0.001", "--set", "risk.cooldown_sec=20")
    done = RUNNER.invoke(
        app, ["paper", str(folder / "run"), *rules, "--recording", str(folder / "rec")]
    )
    assert 0 == done.exit_code, done.stderr
    return folder / "run"


def messages(run: Path) -> list[dict[str, Any]]:
    """Return the envelopes that a run published."""
    file = run / "published" / "paper.signals.raw.jsonl"
    return [json.loads(line)["message"] for line in file.read_text().splitlines()]


def held(run: Path, other: Path, *options: str) -> tuple[Result, dict[str, Any]]:
    """Compare; return what ended and its JSON."""
    done = RUNNER.invoke(app, ["diff", str(run), "--against", str(other), "--json", *options])
    return done, json.loads(done.stdout or "{}")


@pytest.fixture
def old(run: Path, tmp_path: Path) -> Callable[[Callable[[list[dict[str, Any]]], Any]], Path]:
    """Write the messages as an old runner's, changed by the test."""

    def write(change: Callable[[list[dict[str, Any]]], Any]) -> Path:
        found = messages(run)
        change(found)
        path = tmp_path / "old.jsonl"
        path.write_text("\n".join(json.dumps(one) for one in found) + "\n\n")
        return path

    return write


def test_what_was_published_is_what_the_run_holds(run: Path, old: Any) -> None:
    """The publisher's own file, and the bare envelopes, are the same to the last bit."""
    file = run / "published" / "paper.signals.raw.jsonl"
    for path in (file, old(lambda found: None)):
        done, found = held(run, path)
        assert (0, True, None) == (done.exit_code, found["same"], found["first_divergence"])
        assert found["covered"]["matched"] == found["covered"]["signals"] == len(messages(run)) > 5


def test_the_first_difference_is_named_with_its_places(run: Path, old: Any) -> None:
    """A price moved, one signal left out, one added: the earliest of them first, exit 1."""

    def change(found: list[dict[str, Any]]) -> None:
        found[3]["data"]["price"] += 0.25
        del found[2]
        found[4]["data"]["signal_type"] = "HOLD"

    done, found = held(run, old(change))
    first = found["first_divergence"]
    third = messages(run)[2]["data"]

    assert 1 == done.exit_code
    assert ("signals", "signal", "none") == (first["stream"], first["field"], first["b"])
    assert third["instrument_token"] == first["instrument_token"]
    assert first["seq"] > 0
    assert f"seq {first['seq']}" in first["a"]
    assert (2, 0, {"price": 1}, {"hold": 1}) == (
        found["only_run"],
        found["only_against"],
        found["unequal"],
        found["left_out"],
    )
    assert "old.jsonl:3" in found["differences"][1]["b"]


def test_tolerances_and_names_are_told(run: Path, old: Any) -> None:
    """An old runner with other names, coarser times and prices is one within what is allowed."""

    def change(found: list[dict[str, Any]]) -> None:
        for one in found:
            one["data"]["strategy_id"] = "OldMomentum"
            one["data"]["price"] = round(one["data"]["price"], 1)
            one["data"]["timestamp"] = one["data"]["timestamp"][:19] + "Z"

    path = old(change)
    exact, _ = held(run, path)
    options = (
        "--tolerance",
        "time=1s",
        "--tolerance",
        "price=0.05",
        "--tolerance",
        "confidence=any",
    )
    loose, found = held(run, path, *options)

    assert (1, 0) == (exact.exit_code, loose.exit_code)
    assert [("momentum", "OldMomentum", len(messages(run)))] == [
        (n["run"], n["against"], n["signals"]) for n in found["names"]
    ]
    assert {"ts_event_ns": 10**9, "price": 0.05, "quantity": 0.0, "confidence": None} == found[
        "tolerance"
    ]


def test_what_lies_outside_is_counted_and_not_compared(run: Path, old: Any) -> None:
    """Another day, and an instrument the run is not about."""

    def change(found: list[dict[str, Any]]) -> None:
        found.append(json.loads(json.dumps(found[0])))
        found[-1]["data"]["timestamp"] = "2020-01-01T00:00:00Z"
        found.append(json.loads(json.dumps(found[0])))
        found[-1]["data"]["instrument_token"] = 4

    done, found = held(run, old(change))

    assert 0 == done.exit_code
    assert {
        "outside the run's time": 1,
        "instruments the run is not about": 1,
    } == found["left_out"]


def test_a_signal_that_came_due_behind_the_last_tick_is_compared(
    run: Path, old: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A heartbeat makes it: the run's time reaches to its last signal where ticks ended before."""
    seen = others.span_of(RunFolder(run))
    last = max(one.ts_event for one in others._all_said(frames.signals(run)))
    assert seen is not None
    monkeypatch.setattr(others, "span_of", lambda *_, **__: (seen[0], last - 1))
    done, found = held(run, old(lambda _: None))

    assert 0 == done.exit_code
    assert ({}, len(messages(run))) == (found["left_out"], found["covered"]["messages"])


def still_open(run: Path, folder: Path, parts: int) -> Path:
    """Return a copy of a run as it was when it had written so many parts."""
    shutil.copytree(run, folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest |= {"state": "open", "report": None, "last_seq": 0, "files": {}}
    manifest["recording"]["content_hash"] = ""
    (folder / "manifest.json").write_text(json.dumps(manifest))
    for stream in ("candidates", "decisions"):
        for part in sorted((folder / stream).glob("*.parquet"))[parts:]:
            part.unlink()
    return folder


@pytest.mark.parametrize("tolerance", ["0ns", "60s"])
def test_what_an_open_run_did_not_write_yet_is_counted(
    run: Path, old: Any, tmp_path: Path, tolerance: str
) -> None:
    """Its recording goes on behind its last flush: a message of then is no difference yet."""
    path = old(lambda found: None)
    within = ("--tolerance", f"time={tolerance}")
    whole, all_of_it = held(run, path, *within)
    done, found = held(still_open(run, tmp_path / "open", 2), path, *within)

    assert (0, 0) == (whole.exit_code, done.exit_code), found["first_divergence"]
    assert {} == all_of_it["left_out"]
    late = found["left_out"]["behind what the open run wrote"]
    assert late > 0
    assert found["covered"]["messages"] == len(messages(run)) - late > 0
    assert (0, 0) == (found["only_run"], found["only_against"])


def test_an_instrument_that_lags_is_behind_at_its_own_time(
    many_parts: None, tmp_path: Path
) -> None:
    """Its ticks come minutes after those of another: what they will say is no difference."""
    table, ticks = generate(seed=3, ticks=6_000)
    late = np.where(ticks["instrument_token"] == table.tokens[1], 300 * 10**9, 0)
    ticks = ticks[np.argsort(ticks["ts_event"] + late, kind="stable")]
    ticks["ts_recv"] = np.maximum.accumulate(np.maximum(ticks["ts_recv"], ticks["ts_event"]))
    with RecordingWriter(tmp_path / "rec", table, order="ts_recv", created_by="test") as writer:
        writer.append(TickBatch.from_records(Sequencer(table).sequence(ticks), table))
    words = ["paper", str(tmp_path / "run"), "-s", "momentum", "--set", "threshold=0.0005"]
    assert 0 == RUNNER.invoke(app, [*words, "--recording", str(tmp_path / "rec")]).exit_code
    file = tmp_path / "run" / "published" / "paper.signals.raw.jsonl"
    done, found = held(still_open(tmp_path / "run", tmp_path / "open", 2), file)

    assert (0, 0, 0) == (done.exit_code, found["only_run"], found["only_against"])
    assert found["left_out"]["behind what the open run wrote"] > 0


def test_a_recording_that_is_damaged_or_gone_is_no_run_without_ticks(
    run: Path, old: Any, tmp_path: Path
) -> None:
    """Exit code 3 and its name: nothing was compared for another reason than none being there."""
    copy = shutil.copytree(run, tmp_path / "copy")
    (part, *_) = (copy / "recording" / "ticks").iterdir()
    part.write_bytes(part.read_bytes()[:-40])
    damaged, _ = held(copy, old(lambda found: None))
    shutil.rmtree(copy / "recording")
    gone, _ = held(copy, old(lambda found: None))

    assert (3, 3) == (damaged.exit_code, gone.exit_code)
    assert part.name in damaged.stderr.replace("\n", "")


def test_what_an_open_run_wrote_is_compared(run: Path, old: Any, tmp_path: Path) -> None:
    """Up to its last flush a message more is a difference; before its first, nothing is there."""
    change = {"BUY": "SELL", "SELL": "BUY"}[messages(run)[1]["data"]["signal_type"]]
    path = old(lambda found: found[1]["data"].update(signal_type=change))
    done, found = held(still_open(run, tmp_path / "open", 2), path)
    nothing, _ = held(still_open(run, tmp_path / "bare", 0), path)

    assert (1, 1, 1) == (done.exit_code, found["only_run"], found["only_against"])
    assert 1 == nothing.exit_code
    assert "wrote nothing yet" in nothing.stderr


def test_what_the_run_dropped_is_said(run: Path, old: Any, tmp_path: Path) -> None:
    """Where the old runner spoke and the run's cooldown did not let it, the reason is there."""
    drops = json.loads(RUNNER.invoke(app, ["report", str(run), "--json"]).stdout)["drops"]
    assert drops["cooldown"] > 0
    rec = run.parent / "rec"
    rules = ("-s", "momentum", "--set", "threshold=0.001")
    loose = RUNNER.invoke(app, ["paper", str(tmp_path / "loose"), *rules, "--recording", str(rec)])
    assert 0 == loose.exit_code
    file = tmp_path / "loose" / "published" / "paper.signals.raw.jsonl"
    done, found = held(run, file)

    assert 1 == done.exit_code
    assert "the run dropped it: cooldown" in {d["cause"] for d in found["differences"]}
    text = RUNNER.invoke(app, ["diff", str(run), "--against", str(file)])
    assert 1 == text.exit_code
    assert "first divergence" in text.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "expected a second run, --against or --shard"),
        (("other", "--against", "x.jsonl"), "expected a second run, --against or --shard"),
        (("--against", "no/such.jsonl"), "no file no/such.jsonl"),
        (("other", "--tolerance", "price=1"), "it goes with --against"),
        (("--against", "x.jsonl", "--tolerance", "prise=1"), "price"),
        (("--against", "x.jsonl", "--tolerance", "time=5"), None),
        (("--against", "x.jsonl", "--tolerance", "time=5m"), "expected ns, us, ms or s"),
        (("--against", "x.jsonl", "--tolerance", "price=-1"), "0 or more"),
        (("--against", "x.jsonl", "--tolerance", "price=nan"), "0 or more"),
    ],
)
def test_wrong_input_is_refused(run: Path, arguments: tuple[str, ...], words: str | None) -> None:
    """Exit code 2, and what was meant."""
    done = RUNNER.invoke(app, ["diff", str(run), *arguments])

    assert 2 == done.exit_code
    assert (words or "no file x.jsonl") in done.stderr


def test_a_message_that_cannot_be_read_is_refused(run: Path, old: Any) -> None:
    """Its line is named; a comparison that leaves out what it cannot read would mislead."""
    path = old(lambda found: found[1]["data"].pop("timestamp"))
    done, _ = held(run, path)

    assert 2 == done.exit_code
    assert f"{path}:2" in done.stderr.replace("\n", "")
