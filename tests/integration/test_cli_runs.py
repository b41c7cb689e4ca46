"""Commands that read recordings and runs: their JSON, their words, and what wrong input does."""

import contextlib
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from parity.cli import app

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "recordings" / "demo"
Cli = Callable[..., subprocess.CompletedProcess[str]]
pytestmark = pytest.mark.slow
RULES = ("-s", "momentum", "-s", "mean_reversion", "--set", "momentum.threshold=0.002")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two runs over the demo recording, `a` and `b`, of another threshold."""
    folder = tmp_path_factory.mktemp("runs")
    for name, threshold in (("a", "0.002"), ("b", "0.003")):
        arguments = ["backtest", str(DEMO), *RULES, "--out", str(folder / name)]
        more = ["--set", f"momentum.threshold={threshold}", "--json"]
        done = CliRunner().invoke(app, [*arguments, *more])
        assert done.exit_code == 0, done.stderr
        (folder / f"{name}.json").write_text(done.stdout)
    return folder


def test_backtest_has_the_agreed_json(runs: Path) -> None:
    """`backtest --json` is one object with the documented keys, and its sums agree."""
    found = json.loads((runs / "a.json").read_text())
    strategies = found["strategies"]

    assert 1 == found["format"]
    assert 40_000 == found["ticks"]
    assert {"momentum", "mean_reversion"} == set(strategies)
    assert {"candidates", "decisions"} == set(found["digests"])
    assert found["ticks_per_second"] > 0
    assert str(runs / "a") == found["run"]
    assert [] == found["skipped"]
    assert found["signals"] == sum(one["signals"] for one in strategies.values()) > 0
    assert found["fills"] == sum(one["fills"] for one in strategies.values()) > 0
    for one in strategies.values():
        assert {"signals", "drops", "fills", "pnl", "digests"} <= set(one)


def test_verify_is_identical_in_a_fresh_process(cli: Cli, runs: Path) -> None:
    """It ends with 0, says what it covered in words and as JSON."""
    told = cli("verify", runs / "a")
    found = json.loads(cli("verify", runs / "a", "--json", "--strict").stdout)

    assert 0 == told.returncode, told.stderr
    assert told.stdout.startswith("identical: 40 000 ticks, 2 strategies, ")
    assert "identical" == found["verdict"]
    assert found["first_divergence"] is None
    assert {"ticks", "signals", "fills", "checkpoints"} <= set(found["covered"])


def test_diff_names_the_first_signal_that_moved(cli: Cli, runs: Path) -> None:
    """It ends with 1 and names stream, strategy, tick, field, both values and the cause."""
    done = cli("diff", runs / "a", runs / "b", "--json")
    found = json.loads(done.stdout)
    first = found["first_divergence"]

    assert (1, False) == (done.returncode, found["same"])
    keys = "stream strategy_id broker instrument_token ts_event seq field a b cause"
    assert set(keys.split()) == set(first)
    assert ("candidates", "momentum", "paper") == (
        first["stream"],
        first["strategy_id"],
        first["broker"],
    )
    assert "threshold 0.002 -> 0.003" in first["cause"]
    told = cli("diff", runs / "a", runs / "b")
    assert told.returncode == 1
    assert f"seq {first['seq']}, 2025-01-06T09:" in told.stdout
    for word in (first["a"], first["b"], first["field"], "momentum at paper", first["cause"]):
        assert word in told.stdout


def test_diff_of_a_run_with_itself_is_the_same(cli: Cli, runs: Path) -> None:
    """A run has no difference to itself: 0."""
    done = cli("diff", runs / "a", runs / "a", "--json")

    assert 0 == done.returncode
    assert json.loads(done.stdout)["same"]


def test_replay_tells_what_a_parameter_changes(cli: Cli, runs: Path) -> None:
    """Today's code says identical; another parameter is a change, and 1 only where asked for."""
    same = cli("replay", runs / "a", "--require-same-code", "--json")
    other = ("replay", runs / "a", "--set", "momentum.threshold=0.003", "--json")
    changed = cli(*other)

    assert (0, "identical") == (same.returncode, json.loads(same.stdout)["verdict"]), same.stdout
    assert (0, "changed") == (changed.returncode, json.loads(changed.stdout)["verdict"])
    cause = json.loads(changed.stdout)["first_divergence"]["cause"]
    assert "momentum: parameters.threshold 0.002 -> 0.003" in cause
    assert 1 == cli(*other, "--require-same-code").returncode


def test_inspect_shows_recordings_and_runs(cli: Cli, runs: Path) -> None:
    """A recording is summed up exactly; a run shows what it was and what came out."""
    recording = json.loads(cli("inspect", DEMO, "--json").stdout)
    run = json.loads(cli("inspect", runs / "a", "--json").stdout)

    assert (1, 40_000, 0) == (recording["format"], recording["ticks"], recording["gaps"])
    first = recording["instruments"][0]
    keys = "instrument_token symbol ticks first last quantity notional buy sell cvd"
    assert set(keys.split()) <= set(first)
    assert isinstance(first["notional"], str)
    assert ("backtest", "complete") == (run["mode"], run["state"])
    backtest = json.loads((runs / "a.json").read_text())
    assert backtest["digests"] == run["digests"]


def test_instruments_override_those_of_the_rows(cli: Cli, tmp_path: Path) -> None:
    """--instruments runs a strategy elsewhere than its row says; --end cuts the ticks."""
    row = tmp_path / "row.yaml"
    row.write_text("strategy_type: momentum\ninstruments: [900001]\n")
    options = ("-s", row, "--set", "threshold=0.001", "--end", "2025-01-06T10:00:00Z", "--json")
    own = json.loads(cli("backtest", DEMO, *options, "--out", tmp_path / "a").stdout)
    other = json.loads(
        cli("backtest", DEMO, *options, "--out", tmp_path / "b", "--instruments", "900002").stdout
    )
    both = json.loads(
        cli("backtest", DEMO, *options, "--out", tmp_path / "c", "--instruments", "all").stdout
    )

    counts = [one["strategies"]["row"]["candidates"] for one in (own, other, both)]
    assert min(counts) > 0
    assert counts[0] + counts[1] == counts[2]
    assert other["ticks"] < own["ticks"] == both["ticks"] < 40_000


def test_a_strategy_without_its_model_is_skipped_in_sight(cli: Cli, tmp_path: Path) -> None:
    """The others run; the skipped one is named with its reason, in words and in JSON."""
    rows = tmp_path / "rows.yaml"
    rows.write_text(
        "- {id: rule, strategy_type: momentum, instruments: all}\n"
        "- {id: ml, strategy_type: ml_momentum, instruments: all,\n"
        "   parameters: {model_path: gone.onnx}}\n"
    )
    done = cli("backtest", DEMO, "-s", rows, "--out", tmp_path / "a", "--json")
    (skipped,) = json.loads(done.stdout)["skipped"]

    assert 0 == done.returncode
    assert "ml" == skipped["strategy_id"]
    assert "skipped ml: " in cli("inspect", tmp_path / "a").stdout


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the demo recording, to be damaged."""
    return Path(shutil.copytree(DEMO, tmp_path / "demo"))


@pytest.mark.parametrize("command", ["inspect", "backtest", "produce"])
def test_an_edited_byte_is_found_and_named(cli: Cli, copy: Path, command: str) -> None:
    """One other byte of a Parquet part ends with 3 and the part's name; no run is left."""
    (part,) = (copy / "ticks").glob("*.parquet")
    data = bytearray(part.read_bytes())
    data[len(data) // 2] ^= 1
    part.write_bytes(data)
    run = copy.parent / "run"
    more = {"backtest": ("-s", "momentum", "--out", run)}.get(command, ())
    done = cli(command, copy, "--json", *more)

    assert 3 == done.returncode
    if command == "inspect":  # lists everything that is wrong
        assert not json.loads(done.stdout)["integrity"]["ok"]
    else:
        assert "" == done.stdout
    assert f"ticks/{part.name}" in done.stderr
    assert not run.exists()


def test_verify_finds_an_edited_run_and_an_edited_recording(
    cli: Cli, copy: Path, runs: Path, tmp_path: Path
) -> None:
    """A proof of a damaged run, or of one whose recording was damaged since, ends with 3."""
    run = tmp_path / "run"
    assert 0 == cli("backtest", copy, *RULES, "--out", run).returncode
    (part,) = (copy / "ticks").glob("*.parquet")
    data = bytearray(part.read_bytes())
    data[100] ^= 1
    part.write_bytes(data)
    damaged = tmp_path / "damaged"
    shutil.copytree(runs / "a", damaged)
    manifest = (damaged / "manifest.json").read_text()
    (damaged / "manifest.json").write_text(manifest[:-20])

    assert 3 == cli("verify", run).returncode
    done = cli("verify", damaged)
    assert 3 == done.returncode
    assert "manifest.json" in done.stderr


def test_import_takes_a_csv_and_refuses_naive_times(cli: Cli, tmp_path: Path) -> None:
    """Naive times end with 2 and leave nothing; with --tz they come in, exactly."""
    file = tmp_path / "t.csv"
    file.write_text(
        "when,ltp,qty\n2025-01-06 09:15:00.000000001,100.05,3\n2025-01-06 09:15:01,99.95,4\n"
    )
    columns = "price=ltp,quantity=qty,ts_event=when,instrument_token==256265,symbol==NIFTY"
    given = ("import", file, tmp_path / "rec", "--map", columns)
    refused = cli(*given)

    assert 2 == refused.returncode
    assert "--tz" in refused.stderr
    assert [file] == list(tmp_path.iterdir())
    done = cli(*given, "--tz", "Asia/Kolkata", "--json")
    assert 0 == done.returncode, done.stderr
    assert (1, 2) == ((found := json.loads(done.stdout))["format"], found["ticks"])
    (one,) = json.loads(cli("inspect", tmp_path / "rec", "--json").stdout)["instruments"]
    assert ("2025-01-06T03:45:00.000000001Z", "699.95") == (one["first"], one["notional"])


@pytest.mark.parametrize("reader", ["head", "closed"])
def test_a_reader_that_goes_away_is_no_error(reader: str, runs: Path) -> None:
    """`parity … | head -1` prints no traceback."""
    command = [sys.executable, "-m", "parity", "inspect", str(runs / "a"), "--json"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT
    ) as started:
        assert started.stdout is not None
        assert started.stderr is not None
        if reader == "head":
            started.stdout.readline()
        started.stdout.close()
        said = started.stderr.read()

    assert b"" == said
    assert started.returncode in (0, 141)


@pytest.mark.parametrize(("no_color", "colours"), [("1", False), (None, True)])
def test_progress_is_shown_on_a_terminal_only(
    runs: Path, tmp_path: Path, no_color: str | None, colours: bool
) -> None:
    """On a terminal stderr has a progress line with rows; NO_COLOR takes the colours away."""
    environment = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "COLUMNS")}
    environment |= {"TERM": "xterm-256color"} | ({"NO_COLOR": no_color} if no_color else {})
    command = [sys.executable, "-m", "parity", "backtest", DEMO, *RULES, "--out", tmp_path / "a"]
    printed, said = on_a_terminal([*command, "--json"], environment)

    assert 40_000 == json.loads(printed)["ticks"]
    assert "40 000 ticks" in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", said)
    assert colours == bool(re.search(r"\x1b\[[0-9;]*3[0-9]", said))


def test_an_import_shows_each_of_its_passes(tmp_path: Path) -> None:
    """A terminal sees rows in both passes, each by its name; a file gets no line of progress."""
    lines = (f'{1_748_736_000_000 + n},"{n}.5",1' for n in range(5000))
    file = tmp_path / "ticks.csv"
    file.write_text("\n".join(["ts_event,price,quantity", *lines, ""]))
    command = [sys.executable, "-m", "parity", "import", file, "--map", "symbol==A", "--json"]
    environment = {**os.environ, "TERM": "xterm-256color", "NO_COLOR": "1", "COLUMNS": "100"}
    shown = on_a_terminal([*command, tmp_path / "a"], environment)[1]
    said = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
    quiet = subprocess.run(
        [*command, tmp_path / "b"],
        capture_output=True,
        cwd=ROOT,
        check=True,
        text=True,
        timeout=120,
    )

    assert re.search(r"import, pass 1 of 2 .* 0 ticks", said)
    assert re.search(r"import, pass 2 of 2 .* 5 000 ticks", said)
    assert "" == quiet.stderr


def on_a_terminal(command: Sequence[str | Path], environment: dict[str, str]) -> tuple[str, str]:
    """Run a command with a terminal for its stderr; return stdout and what was shown."""
    leader, follower = pty.openpty()
    pieces: list[bytes] = []

    def look() -> None:  # meanwhile: a terminal that nobody reads holds up who writes to it
        with contextlib.suppress(OSError):  # how Linux says that the other end is closed
            while piece := os.read(leader, 65536):
                pieces.append(piece)

    looking = threading.Thread(target=look, daemon=True)
    looking.start()
    try:
        done = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=follower,
            env=environment,
            cwd=ROOT,
            check=True,
            text=True,
            timeout=120,
        )
    finally:
        os.close(follower)
        looking.join(60)
        os.close(leader)
    return done.stdout, b"".join(pieces).decode()


SLOW = """import time
import parity as pt

@pt.strategy("slow", history=2)
def slow(tick, history):
    time.sleep(0.002)
"""


@pytest.fixture
def started() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a command in a process of its own; it is ended with the test, whatever happens."""
    processes: list[subprocess.Popen[str]] = []

    def start(*arguments: str | Path) -> subprocess.Popen[str]:
        # Where these tests run in the background, SIGINT is ignored, and a child inherits that.
        handler = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            process = subprocess.Popen(
                [sys.executable, "-m", "parity", *map(str, arguments)],
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        finally:
            signal.signal(signal.SIGINT, handler)
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def interrupt(
    process: subprocess.Popen[str],
    there: Callable[[], bool],
    how: signal.Signals = signal.SIGINT,
) -> tuple[int, str, str]:
    """Send a signal once something is there; return exit code, stdout and stderr."""
    limit = time.monotonic() + 60
    while not there():
        assert process.poll() is None, f"it ended before: {process.communicate()}"
        assert time.monotonic() < limit, "it never came that far"
        time.sleep(0.001)
    process.send_signal(how)
    shown, said = process.communicate(timeout=180)
    return process.returncode, shown, said


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_backtest_leaves_nothing(
    started: Callable[..., subprocess.Popen[str]], tmp_path: Path, how: signal.Signals
) -> None:
    """A signal in the middle of a backtest ends with 130; no run is left that could be believed."""
    (tmp_path / "slow.py").write_text(SLOW)
    run = tmp_path / "run"
    process = started("backtest", DEMO, "-s", tmp_path / "slow.py", "--out", run, "--json")
    ended = interrupt(process, lambda: (run / "manifest.json").is_file(), how)

    assert (130, "", "interrupted\n") == ended
    assert [tmp_path / "slow.py"] == list(tmp_path.iterdir())


@pytest.mark.parametrize("when", ["reading", "writing"])
def test_an_interrupted_import_leaves_nothing(
    started: Callable[..., subprocess.Popen[str]], tmp_path: Path, when: str
) -> None:
    """Ctrl-C in either pass of an import ends with 130, says what to do, and leaves no half."""
    times = range(1_736_154_000_000_000_000, 1_736_154_000_000_600_000)
    rows = "".join(f'{time},"{time % 977}.25",1\n' for time in times)  # texts take two passes
    (tmp_path / "t.csv").write_text("ts_event,price,quantity\n" + rows)
    columns = "ts_event=ts_event,price=price,quantity=quantity,instrument_token==1,symbol==A"
    process = started("import", tmp_path / "t.csv", tmp_path / "rec", "--map", columns, "--json")
    opened = Path("/proc") / str(process.pid) / "fd"
    if when == "reading" and not opened.is_dir():
        pytest.skip("no /proc here that says which files a process has open")

    def there() -> bool:
        if when == "writing":
            return any(tmp_path.glob(".rec.*"))
        try:
            return any(os.readlink(one) == str(tmp_path / "t.csv") for one in opened.glob("*"))
        except FileNotFoundError:
            return False  # a file was closed while we looked: look again

    ended = interrupt(process, there)

    left = f"{tmp_path / 'rec'} does not exist; to import, give the same command again"
    assert (130, "", f"interrupted: {left}\n") == ended
    assert [tmp_path / "t.csv"] == list(tmp_path.iterdir())


def test_an_interrupted_append_leaves_the_recording_as_it_was(
    started: Callable[..., subprocess.Popen[str]], cli: Cli, tmp_path: Path
) -> None:
    """Ctrl-C in an append ends with 130; the recording is the old one and can be added to."""
    for name, first, count in (("a", 0, 10), ("b", 20, 600_000)):
        times = range(1_736_154_000_000_000_000 + first, 1_736_154_000_000_000_000 + first + count)
        rows = "".join(f'{time},"{time % 977}.25",1\n' for time in times)
        (tmp_path / f"{name}.csv").write_text("ts_event,price,quantity\n" + rows)
    rec = tmp_path / "rec"
    columns = ("--map", "instrument_token==1,symbol==A", "--json")
    assert 0 == cli("import", tmp_path / "a.csv", rec, *columns).returncode
    manifest = (rec / "manifest.json").read_bytes()
    parts = set((rec / "ticks").iterdir())
    process = started("import", tmp_path / "b.csv", rec, "--append", *columns)
    ended = interrupt(process, lambda: set((rec / "ticks").iterdir()) != parts)

    left = f"{rec} is as it was; to import, give the same command again"
    assert (130, "", f"interrupted: {left}\n") == ended
    assert manifest == (rec / "manifest.json").read_bytes()
    assert 0 == cli("inspect", rec, "--json").returncode
    assert 0 == cli("import", tmp_path / "b.csv", rec, "--append", *columns).returncode
