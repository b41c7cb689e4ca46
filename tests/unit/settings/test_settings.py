"""The layers of settings: who wins, who said what, and what is never shown."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from parity.model.errors import ConfigError
from parity.settings.settings import Settings, load_settings

LAYERS = ("command line", "environment", ".env", "parity.toml", "default")


def refusal(folder: Path, **given: Any) -> str:
    """Return the text of the ConfigError that loading from this folder raises."""
    with pytest.raises(ConfigError) as caught:
        load_settings(folder=folder, environment=given.pop("environment", {}), **given)
    return str(caught.value)


@pytest.mark.parametrize("layer", LAYERS)
def test_each_layer_beats_those_below(tmp_path: Path, layer: str) -> None:
    """With every layer from one downwards present, that one is served, and named as the origin."""
    present = LAYERS[LAYERS.index(layer) :]
    if "parity.toml" in present:
        (tmp_path / "parity.toml").write_text('\nlog_level = "ERROR"\n')
    if ".env" in present:
        (tmp_path / ".env").write_text("PARITY_LOG_LEVEL=WARNING\nOTHER=1\n")
    environment = {"PARITY_LOG_LEVEL": "DEBUG"} if "environment" in present else {}
    overrides = {"log_level": "info"} if "command line" in present else {}
    loaded = load_settings(overrides, folder=tmp_path, environment=environment)
    served = dict(zip(LAYERS, ("INFO", "DEBUG", "WARNING", "ERROR", "INFO"), strict=True))
    where = {
        "command line": "command line --log-level",
        "environment": "environment PARITY_LOG_LEVEL",
        ".env": ".env PARITY_LOG_LEVEL",
        "parity.toml": f"{tmp_path / 'parity.toml'}:2",
        "default": "default",
    }
    assert loaded.log_level == served[layer]
    assert loaded.origins()["log_level"].where == where[layer]


def test_librdkafka_merges_key_by_key(tmp_path: Path) -> None:
    """Each client setting comes from its highest layer; names keep or get their dots."""
    (tmp_path / "parity.toml").write_text(
        "[librdkafka]\n"
        'security.protocol = "SASL_SSL"\n'
        '"sasl.username" = "file"\n'
        "fetch.min.bytes = 10\n"
    )
    environment = {
        "PARITY_LIBRDKAFKA__SASL_USERNAME": "variable",
        "PARITY_LIBRDKAFKA__SASL_PASSWORD": "hunter2",
    }
    loaded = load_settings(folder=tmp_path, environment=environment)
    assert loaded.client_config() == {
        "security.protocol": "SASL_SSL",
        "sasl.username": "variable",
        "sasl.password": "hunter2",
        "fetch.min.bytes": 10,
    }
    origins = loaded.origins()
    assert origins["librdkafka.security.protocol"].where == f"{tmp_path / 'parity.toml'}:2"
    variable = "environment PARITY_LIBRDKAFKA__SASL_USERNAME"
    assert origins["librdkafka.sasl.username"].where == variable


@pytest.mark.parametrize(
    "key",
    ["sasl.password", "ssl.key.password", "ssl.key.pem", "sasl.oauthbearer.client.secret"],
)
def test_secrets_are_masked_everywhere_but_for_the_client(tmp_path: Path, key: str) -> None:
    """No repr, dump or origin shows a secret; the client gets it."""
    (tmp_path / "parity.toml").write_text(f'[librdkafka]\n"{key}" = "hunter2"\n')
    loaded = load_settings(folder=tmp_path, environment={})
    shown = f"{loaded!r} {loaded} {loaded.model_dump()} {loaded.model_dump_json()}"
    assert "hunter2" not in shown + repr(loaded.origins())
    assert loaded.client_config() == {key: "hunter2"}


def test_a_wrong_secret_is_not_shown(tmp_path: Path) -> None:
    """An error about a secret's type names the key, not the value."""
    (tmp_path / "parity.toml").write_text('[librdkafka]\n"sasl.password" = ["hunter2"]\n')
    said = refusal(tmp_path)
    assert "parity.toml:2: librdkafka.sasl.password: expected" in said
    assert "hunter2" not in said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("checkpoint_tick = 3", "parity.toml:1: unknown setting 'checkpoint_tick'; did you mean"),
        ("\n\ncheckpoint_ticks = 0", "parity.toml:3: checkpoint_ticks: expected an integer ≥ 1"),
        ("checkpoint_ticks = 'many'", 'checkpoint_ticks: expected an integer ≥ 1, was "many"'),
        ("durability = 'never'", 'durability: expected fdatasync or os, was "never"'),
        ("ticks_topics = []", "ticks_topics: expected a list of topic names, was"),
        ("ticks_topics = 5", "ticks_topics: expected a list of topic names, was 5"),
        ("librdkafka = 5", "librdkafka: expected a mapping of librdkafka settings"),
        ("a = [", "parity.toml: not valid TOML: "),
        ("a = 1\na = 2", "parity.toml: not valid TOML: "),
    ],
)  # fmt: skip
def test_a_wrong_file_is_named_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    """Unknown keys and wrong values are refused with file, line and the name that was meant."""
    (tmp_path / "parity.toml").write_text(text)
    assert said in refusal(tmp_path)


def test_yaml_serves_as_well(tmp_path: Path) -> None:
    """`parity.yaml` is the same file with lines; two files at once are refused."""
    (tmp_path / "parity.yaml").write_text("runs_dir: r\nticks_topics: [a, b]\n")
    loaded = load_settings(folder=tmp_path, environment={})
    assert (loaded.runs_dir, loaded.ticks_topics) == (Path("r"), ("a", "b"))
    assert loaded.origins()["ticks_topics"].where == f"{tmp_path / 'parity.yaml'}:2"
    (tmp_path / "parity.toml").write_text("")
    assert "parity.toml and parity.yaml both hold settings" in refusal(tmp_path)
    (tmp_path / "parity.toml").unlink()
    (tmp_path / "parity.yaml").write_text("- 1\n")
    assert "expected settings (a mapping)" in refusal(tmp_path)
    (tmp_path / "parity.yaml").write_text("")
    assert load_settings(folder=tmp_path, environment={}) == load_settings(
        folder=tmp_path / "nothing", environment={}
    )


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        (
            "PARITY_RUN_DIR",
            "x",
            "environment PARITY_RUN_DIR: unknown setting; did you mean 'PARITY_RUNS",
        ),
        (
            "PARITY_CHECKPOINT_TICKS",
            "0",
            "environment PARITY_CHECKPOINT_TICKS: checkpoint_ticks: expected an",
        ),
        ("PARITY_LIBRDKAFKA", "{bad", "environment: error parsing value for field"),
    ],
)
def test_a_wrong_variable_is_named(tmp_path: Path, name: str, value: str, said: str) -> None:
    """A misspelt or wrong variable is refused by its name, in the environment and in .env."""
    assert said in refusal(tmp_path, environment={name: value})
    (tmp_path / ".env").write_text(f"{name}={value}\n")
    assert said.replace("environment", ".env") in refusal(tmp_path)


def test_other_programs_variables_are_left_alone(tmp_path: Path) -> None:
    """A PARITY_ variable that resembles no setting is nobody's mistake."""
    environment = {"PARITY_SHARED_DATA": "x", "PARITY_WHATEVER": "1", "RUNS_DIR": "y"}
    assert load_settings(folder=tmp_path, environment=environment).runs_dir == Path("runs")


def test_the_command_line_is_checked_too(tmp_path: Path) -> None:
    """An override of None is no override; an unknown one is refused."""
    assert load_settings({"runs_dir": None}, folder=tmp_path, environment={}).runs_dir
    assert "unknown setting 'run_dir'" in refusal(tmp_path, overrides={"run_dir": "x"})


def test_origins_cover_every_setting(tmp_path: Path) -> None:
    """`origins` speaks of each setting, so that `doctor --config` leaves none out."""
    loaded = load_settings(folder=tmp_path, environment={})
    assert set(loaded.origins()) == set(Settings.model_fields) - {"librdkafka"}
    assert all(origin.where == "default" for origin in loaded.origins().values())


@pytest.mark.slow
def test_the_process_environment_is_the_default(tmp_path: Path) -> None:
    """Without a given environment the process's own variables count, in a process of its own."""
    code = "from parity.settings.settings import load_settings; print(load_settings().runs_dir)"
    said = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ | {"PARITY_RUNS_DIR": "elsewhere"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout.strip() == "elsewhere"
