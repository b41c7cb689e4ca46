"""The command line in this process: parsing, words of errors, exit codes, where output goes."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from parity.cli import app, backtest, moments, options
from parity.cli.logs import Repeats
from parity.model.errors import ConfigError, ParityError

ROOT = Path(__file__).resolve().parents[3]
COMMANDS = [
    "import", "record", "produce", "inspect", "export", "repair", "backtest", "paper", "live",
    "verify", "replay", "diff", "golden", "check", "new", "status", "control", "report",
    "doctor",
]  # fmt: skip
RUNNER = CliRunner(env={"NO_COLOR": "1", "COLUMNS": "120"})


def run(*arguments: str | Path) -> tuple[int, str, str]:
    """Return exit code, stdout and stderr of a command."""
    done = RUNNER.invoke(app, [str(argument) for argument in arguments])
    return done.exit_code, done.stdout, done.stderr


def test_help_shows_the_commands_under_five_headings() -> None:
    """`parity` and `parity --help` list every command under its heading, and the exit codes."""
    code, shown, _ = run("--help")
    headings = re.findall(r"─ (Data|Run|Prove|Write|Operate) ─", shown)
    commands = re.findall(r"^│ ([a-z]+) ", shown, flags=re.MULTILINE)

    assert ["Data", "Run", "Prove", "Write", "Operate"] == headings
    assert COMMANDS == commands
    assert code == 0
    assert "Exit codes: 0 ok; 1 different" in shown
    assert (0, shown) == run()[:2]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("bactest",), "backtest"),
        (("verfy", "runs/x"), "verify"),
        (("backtest", "recordings/demo", "--strategy", "momentum"), "--strategies"),
        (("import", "a.csv", "b", "--maps", "x"), "--map"),
    ],
)
def test_a_mistyped_word_is_answered_with_the_near_one(
    arguments: tuple[str, ...], word: str
) -> None:
    """A mistyped command or option ends with 2, names the near one and where help is."""
    code, shown, said = run(*arguments)

    assert (2, "") == (code, shown)
    assert said.startswith("error: ")
    assert word in said
    assert "--help" in said


@pytest.mark.parametrize("option", ["--start", "--end"])
@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("2025-01-06T09:30:00", "has no time zone"),
        ("2025-01-06 09:30", "has no time zone"),
        ("2025-01-06", "has no time zone"),
        ("1736154000", "looks like seconds"),
        ("1736154000000", "looks like seconds, ms"),
        ("2025-02-30T00:00:00Z", "is no instant"),
        ("yesterday", "is no instant"),
        ("99999999999999999999", "does not fit"),
    ],
)
def test_a_time_that_would_be_guessed_at_is_refused(option: str, text: str, word: str) -> None:
    """Naive times and numbers that are no ns end with 2, naming the option and the cure."""
    code, shown, said = run("backtest", "recordings/demo", "-s", "momentum", option, text)

    assert (2, "") == (code, shown)
    assert f"error: {option}: " in said
    assert word in said
    assert f"write {option} 2025-01-06T09:15:00+05:30" in said


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("1736154000000000001", 1736154000000000001),
        ("2025-01-06T09:00:00Z", 1736154000000000000),
        ("2025-01-06T09:00:00.123456789Z", 1736154000123456789),
        ("2025-01-06 14:30+05:30", 1736154000000000000),
        ("1969-12-31T23:59:59.5z", -500_000_000),
    ],
)
def test_an_instant_is_taken_to_the_nanosecond(text: str, ns: int) -> None:
    """Zoned times and ns are taken exactly, digits below the microsecond too."""
    assert ns == options.instant(text, "--start")


@pytest.mark.parametrize("text", ["", "a", "1,1", "0-2,1", "3-1", "-1", "0,", "١"])
def test_partitions_are_numbers_and_ranges_each_once(text: str) -> None:
    """Anything else is refused with an example; what is right comes out rising."""
    with pytest.raises(ConfigError, match="--partitions: expected numbers and ranges"):
        options.partitions_of(text)
    assert (0, 1, 2, 5) == options.partitions_of(" 5, 0-2")


def test_an_end_before_the_start_is_refused() -> None:
    """An empty range is a mistake, not a backtest of nothing."""
    code, _, said = run(
        "backtest", "recordings/demo", "-s", "momentum",
        "--start", "2025-01-06T10:00:00Z", "--end", "2025-01-06T09:00:00Z",
    )  # fmt: skip

    assert code == 2
    assert "--end: 2025-01-06T09:00:00Z is not after --start" in said


@pytest.mark.parametrize("command", ["inspect", "backtest", "verify", "replay"])
def test_a_missing_recording_or_run_ends_with_3(command: str, tmp_path: Path) -> None:
    """What is not there ends with 3 and is named, and nothing is on stdout."""
    more = ("-s", "momentum") if command == "backtest" else ()
    code, shown, said = run(command, tmp_path / "nowhere", "--json", *more)

    assert (3, "") == (code, shown)
    assert f"error: {tmp_path / 'nowhere'}" in said


def test_backtest_without_strategies_says_which_option(tmp_path: Path) -> None:
    """Forgetting --strategies is answered with its name."""
    code, _, said = run("backtest", ROOT / "recordings" / "demo")

    assert code == 2
    assert "--strategies" in said


@pytest.mark.parametrize(
    ("text", "word"),
    [("1,2", "instrument token 1 is not"), ("SYNA", "'SYNA'"), ("900001,", "''")],
)
def test_instruments_that_are_not_there_are_named(text: str, word: str) -> None:
    """An unknown token, or a symbol for a token, ends with 2 and lists the known ones."""
    code, _, said = run(
        "backtest", ROOT / "recordings" / "demo", "-s", "momentum", "--instruments", text
    )

    assert code == 2
    assert word in said
    assert "900001 (SYNA), 900002 (SYNB)" in said


def test_from_takes_two_words_only(tmp_path: Path) -> None:
    """--from of another word is refused before anything connects."""
    code, _, said = run("record", tmp_path / "r", "--from", "erliest")

    assert code == 2
    assert "did you mean 'earliest'?" in said


def test_a_new_recording_needs_an_instrument_table(tmp_path: Path) -> None:
    """Without a table the scales would be guessed at: refused, nothing is made."""
    code, _, said = run("record", tmp_path / "r")

    assert code == 2
    assert "--instrument-table" in said
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("{}", "expected a list of instruments"),
        ('[{"token": 1, "symbol": "A"}]', "price_scale"),
        ("[", "table.json:1"),
        ('[{"token": 1, "token": 2}]', "key 'token' stands twice in one object"),
        ('[{"token": NaN}]', "NaN is no number"),
        (
            '[{"token": 1, "symbol": "A", "price_scale": 2, "quantity_scale": 0, '
            '"calendar": "NYES"}]',
            "instrument 1 (A): calendar 'NYES' is not known",
        ),
    ],
)
def test_a_wrong_instrument_table_is_named(text: str, word: str, tmp_path: Path) -> None:
    """A file that is no instrument table ends with 2 and its name."""
    file = tmp_path / "table.json"
    file.write_text(text)
    code, _, said = run("record", tmp_path / "r", "--instrument-table", file)

    assert code == 2
    assert "table.json" in said
    assert word in said


def test_a_table_is_read_without_the_importers(tmp_path: Path) -> None:
    """A live command pays at its start for the few lines that read it, and for no vendor."""
    file = tmp_path / "table.json"
    file.write_text('[{"token": 7, "symbol": "A", "price_scale": 2, "quantity_scale": 0}]')
    script = (
        "import sys; from pathlib import Path; from parity.cli import options;"
        f"print([one.token for one in options.table_of(Path({str(file)!r}), Path('new'))]);"
        "print([m for m in sys.modules if m.startswith(('parity.sources', 'pyarrow', 'duckdb'))])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )

    assert "[7]\n[]\n" == done.stdout


def test_check_lists_the_shipped_strategies() -> None:
    """Without a file, check tells what --strategies can be given by name."""
    code, shown, _ = run("check", "--json")
    found = json.loads(shown)

    assert (0, 1) == (code, found["format"])
    assert {"momentum", "mean_reversion", "ml_momentum"} <= set(found["shipped"])
    assert found["shipped"]["momentum"]["parameters"]["threshold"]["default"] is not None


def test_check_accepts_the_shipped_configurations() -> None:
    """Every configuration that ships passes, and its parameters are shown."""
    code, shown, _ = run("check", ROOT / "strategies" / "configs" / "demo.yaml", "--json")
    found = json.loads(shown)

    assert (0, True, []) == (code, found["ok"], found["findings"])
    assert "momentum_kernel" in {one["strategy_id"] for one in found["strategies"]}


def test_check_answers_a_misspelt_parameter(tmp_path: Path) -> None:
    """A YAML typo ends with 2, with file, line, the key and the near one."""
    file = tmp_path / "typo.yaml"
    file.write_text(
        "strategy_type: momentum\ninstruments: all\nparameters:\n  lookbck_periods: 20\n"
    )
    code, shown, said = run("check", file)

    assert (2, "") == (code, shown)
    assert f"{file}:4: parameters.lookbck_periods" in said
    assert "did you mean 'lookback_periods'?" in said


CLOCK = """import time
import parity as pt

@pt.strategy("now", history=2)
def now(tick, history, *, after=0.0):
    if time.time() > after:
        return pt.SignalResult("BUY", 0.8, 1, tick.price, "now")
"""


def test_check_finds_a_clock(tmp_path: Path) -> None:
    """A strategy that loads but reads a clock ends with 1, with file, line, column and cure."""
    file = tmp_path / "clock.py"
    file.write_text(CLOCK)
    code, shown, said = run("check", file, "--json")
    found = json.loads(shown)

    assert (1, False) == (code, found["ok"])
    assert [1, 6] == [one["line"] for one in found["findings"]]
    assert "clock" == found["findings"][1]["rule"]
    code, shown, said = run("check", file)
    assert code == 1
    assert f"{file}:6:8: clock: time.time reads a clock; use tick.ts_event" in said
    assert "1 strategy, 2 errors, 0 warnings" in shown


def test_check_finds_a_clock_in_a_file_that_does_not_load(tmp_path: Path) -> None:
    """What a broken file does wrong besides is said before why it does not load."""
    file = tmp_path / "broken.py"
    file.write_text(CLOCK + "raise ValueError('no')\n")
    code, _, said = run("check", file)

    assert code == 2
    assert "clock: time.time reads a clock" in said
    assert "failed while loading: ValueError: no" in said


def test_check_says_what_would_not_start(tmp_path: Path) -> None:
    """A missing model is found before a run would skip its strategy."""
    file = tmp_path / "ml.yaml"
    file.write_text(
        "strategy_type: ml_momentum\ninstruments: all\nparameters:\n  model_path: gone.onnx\n"
    )
    code, shown, _ = run("check", file, "--json")
    (finding,) = json.loads(shown)["findings"]

    assert code == 1
    assert "start" == finding["rule"]
    assert "gone.onnx" in finding["message"]


def test_doctor_tells_where_a_setting_came_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """--config shows value and layer of each setting, secrets masked."""
    (tmp_path / "parity.toml").write_text('log_level = "DEBUG"\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PARITY_LIBRDKAFKA__SASL_PASSWORD", "hunter2")
    code, shown, _ = run("doctor", "--config", "--json", "--bootstrap-servers", "h:1")
    settings = json.loads(shown)["settings"]

    assert code == 0
    assert {"value": "DEBUG", "where": "parity.toml:1"} == settings["log_level"]
    assert "h:1" == settings["bootstrap_servers"]["value"]
    assert "hunter2" not in shown
    assert "*" in settings["librdkafka.sasl.password"]["value"]


def test_a_misspelt_setting_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key of parity.toml that nothing reads ends every command with 2."""
    (tmp_path / "parity.toml").write_text('log_levl = "DEBUG"\n')
    monkeypatch.chdir(tmp_path)
    code, _, said = run("doctor", "--config")

    assert code == 2
    assert "did you mean 'log_level'?" in said


def failing(error: BaseException) -> Callable[..., None]:
    """Return something that raises."""

    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (
            ParityError("a thing at x was 1", cure="make it 2"),
            2,
            "error: a thing at x was 1\n  make",
        ),
        (KeyboardInterrupt(), 130, "interrupted"),
        (
            ZeroDivisionError("odd"),
            70,
            "error: ZeroDivisionError: odd\n  this is a defect in parity",
        ),
        (typer.Exit(1), 1, ""),
    ],
)
def test_every_way_to_end_has_its_code(
    error: BaseException, code: int, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a command raises becomes words on stderr and an exit code; a defect shows its trace."""
    monkeypatch.setattr(backtest, "settings_of", failing(error))
    ended, shown, said = run("backtest", "recordings/demo", "-s", "momentum")

    assert (code, "") == (ended, shown)
    assert words in said
    assert (code == 70) == ("Traceback" in said)


def test_a_bare_name_is_looked_for_below_recordings_dir(monkeypatch: pytest.MonkeyPatch) -> None:
    """`demo` means recordings/demo where no folder of that name is here."""
    monkeypatch.chdir(ROOT)

    assert Path("recordings/demo") == options.recording_path(Path("demo"))
    assert Path("nothing") == options.recording_path(Path("nothing"))
    assert Path("a/demo") == options.recording_path(Path("a/demo"))


def test_a_repeated_line_is_left_out_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same line within ten seconds is left out; the next one tells how many were."""
    now = [100.0]
    monkeypatch.setattr("parity.cli.logs.time.monotonic", lambda: now[0])
    repeats = Repeats()

    assert [0, None, None] == [repeats.take("down") for _ in range(3)]
    assert repeats.take("other") == 0
    now[0] += 10
    assert [2, None] == [repeats.take("down") for _ in range(2)]


def test_settings_refuse_a_wrong_word() -> None:
    """A value no layer may have is refused by load_settings, through the same door."""
    with pytest.raises(ConfigError, match="bootstrap_servers"):
        options.settings_of(bootstrap_servers="")


def test_a_run_and_a_recording_are_told_apart(tmp_path: Path) -> None:
    """Each in the other's place is named as what it is, with the way on."""
    demo, made = ROOT / "recordings" / "demo", tmp_path / "run"
    assert run("backtest", demo, "--strategies", "momentum", "--out", made)[0] == 0

    as_run = run("verify", demo)
    as_recording = run("backtest", made, "--strategies", "momentum", "--out", tmp_path / "other")

    assert (3, True) == (as_run[0], "a recording, not a run" in as_run[2])
    assert (3, True) == (as_recording[0], "a run, not a recording" in as_recording[2])


@pytest.mark.parametrize("out", ["file", "file/below"])
def test_a_path_the_machine_refuses_is_no_defect(tmp_path: Path, out: str) -> None:
    """An output below or in place of a file ends with the path and its reason, and keeps it."""
    (tmp_path / "file").write_text("mine")

    code, _, said = run(
        "backtest",
        ROOT / "recordings" / "demo",
        "--strategies",
        "momentum",
        "--out",
        tmp_path / out,
    )

    assert (4, "mine") == (code, (tmp_path / "file").read_text())
    assert "Not a directory" in said
    assert "Traceback" not in said


def test_what_a_file_says_cannot_steer_the_terminal(tmp_path: Path) -> None:
    """Control characters quoted in an error are shown, not sent."""
    source = tmp_path / "t.csv"
    source.write_bytes(b"a\x1b[2J,b\n1,2\n")

    code, _, said = run("import", source, tmp_path / "rec")

    assert code == 2
    assert ("\x1b" in said, "\\x1b[2J" in said) == (False, True)


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [("inspect", "recordings/demo"), ("verify", "--help"), ("--help",), ("--version",), ()],
    ids=" ".join,
)
def test_a_reader_that_goes_away_is_no_failure(words: tuple[str, ...]) -> None:
    """`parity … | head -1` ends as SIGPIPE would, also between two prints and for any help."""
    command = [sys.executable, "-m", "parity", *words]
    reader, writer = os.pipe()
    os.close(reader)

    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    os.close(writer)

    assert (141, "") == (done.returncode, done.stderr)


def test_a_backtest_over_no_tick_says_so(tmp_path: Path) -> None:
    """An empty stretch of time is warned about, so that no signals is not mistaken for calm."""
    demo, late = ROOT / "recordings" / "demo", "2030-01-01T00:00:00Z"
    code, shown, said = run(
        "backtest", demo, "--strategies", "momentum", "--start", late, "--out", tmp_path / "run"
    )

    assert (0, True) == (code, shown.count("0 ticks") > 0)
    assert f"warning: no tick was read from {late} to the last" in said


def test_what_a_strategy_raised_is_shown(tmp_path: Path) -> None:
    """A strategy that fails at every tick is shown with its first error, now and at inspect."""
    (tmp_path / "s.py").write_text(
        "import parity as pt\n@pt.strategy('s')\ndef s(tick, history):\n    return 1 / 0\n"
    )
    demo, made = ROOT / "recordings" / "demo", tmp_path / "run"
    first = "error of s, its first: seq 1, instrument"

    for shown in (
        run("backtest", demo, "--strategies", tmp_path / "s.py", "--out", made)[1],
        run("inspect", made)[1],
    ):
        assert 1 == shown.count(first)
        assert "division by zero" in shown.partition(first)[2]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (("a", "b"), "a, b"),
        (["a"], "a"),
        ((1, 2.5), "[1, 2.5]"),
        ([1, 2.5], "[1, 2.5]"),
        ({"k": (1, 2)}, '{"k": [1, 2]}'),
        (3, "3"),
    ],
)
def test_values_of_a_moment_are_words(value: object, text: str) -> None:
    """Words stand beside each other; numbers are JSON, whichever kind of list they came in."""
    assert text == moments._text(value)
