"""compose.yaml without Docker: its form, its commands, and that what it names is there.

No container is started here: that Redpanda and Prometheus take their options is not shown.
"""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from parity.cli import app

ROOT = Path(__file__).resolve().parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
PROMETHEUS: dict[str, Any] = yaml.safe_load((ROOT / "contrib" / "prometheus.yml").read_text())
DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]  # of a group
# What the Compose specification knows of a service, as far as it is used here.
KEYS = {
    *("image", "build", "command", "entrypoint", "ports", "volumes", "healthcheck", "depends_on"),
    *("profiles", "restart", "stop_grace_period", "network_mode"),
}
OURS = [name for name, one in SERVICES.items() if one["image"] == "parity"]


def test_its_form_is_what_compose_knows() -> None:
    """Keys, volumes and services that are named are there; no `version`, which is obsolete."""
    assert {"services", "volumes"} == {*COMPOSE}
    assert {"redpanda", "topics", "paper", "feed", "prometheus"} == {*SERVICES}
    for name, one in SERVICES.items():
        assert {*one} <= KEYS, name
        assert {*one.get("depends_on", ())} <= {*SERVICES}, name
        for volume in one.get("volumes", ()):
            source = volume.split(":")[0]
            assert (ROOT / source).is_file() if source[0] == "." else source in COMPOSE["volumes"]
        mode = one.get("network_mode", "")
        assert not mode or mode.removeprefix("service:") in SERVICES
        for text in one.get("command", ()):
            assert isinstance(text, str), f"{name}: {text!r} is no text for Compose"


@pytest.mark.parametrize("name", OURS)
def test_commands_are_ours(name: str) -> None:
    """What our image is called with parses, and the files it names are in the image."""
    verb, *arguments = SERVICES[name]["command"]
    context = COMMANDS[verb].make_context(name, list(arguments))

    assert context.params["servers"] == "redpanda:9092"
    named = [value for value in context.params.values() if "recordings/" in str(value)]
    assert named
    assert all((ROOT / str(value)).is_dir() for value in named)


def test_a_wrong_option_is_seen() -> None:
    """The test above can fail."""
    verb, *arguments = SERVICES["paper"]["command"]
    with pytest.raises(Exception, match="No such option"):
        COMMANDS[verb].make_context("paper", [*arguments, "--verfy"])


def test_metrics_are_scraped_where_they_are() -> None:
    """Prometheus shares the run's network and asks the port that the run was given, on loopback."""
    (job,) = PROMETHEUS["scrape_configs"]
    (target,) = job["static_configs"][0]["targets"]

    assert "service:paper" == SERVICES["prometheus"]["network_mode"]
    assert f"--metrics={target.removeprefix('127.0.0.1:')}" in SERVICES["paper"]["command"]
    mounted = SERVICES["prometheus"]["volumes"][0].split(":")[1]
    assert f"--config.file={mounted}" in SERVICES["prometheus"]["command"]


@pytest.mark.parametrize(
    ("create", "describe", "code"), [(0, 0, 0), (1, 0, 0), (1, 1, 1)], ids=["new", "there", "no"]
)
def test_topics_are_made_or_there(tmp_path: Path, create: int, describe: int, code: int) -> None:
    """The script itself beside an rpk of ours: all topics, and the first one's failure counts."""
    rpk = tmp_path / "rpk"
    rpk.write_text(f"""#!/bin/sh
echo "$@" >> {tmp_path}/calls
case "$2$5" in createmarket.ticks) exit {create};; describemarket.ticks) exit {describe};; esac
""")
    rpk.chmod(0o755)
    (script,) = SERVICES["topics"]["command"]

    done = subprocess.run(
        [*SERVICES["topics"]["entrypoint"], script.replace("$$", "$")],
        env={"PATH": f"{tmp_path}:/bin:/usr/bin"}, check=False, timeout=30,
    )  # fmt: skip

    calls = (tmp_path / "calls").read_text().splitlines()
    assert code == done.returncode
    assert "topic create -X brokers=redpanda:9092 market.ticks -p 12" == calls[0]
    if not code:
        assert "topic create -X brokers=redpanda:9092 paper.orders.filled -p 3" == calls[-1]


def test_nothing_is_open_to_other_machines() -> None:
    """Every published port is bound to loopback."""
    ports = [port for one in SERVICES.values() for port in one.get("ports", ())]

    assert len(ports) == 2
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_the_image_is_built_of_what_is_here() -> None:
    """Files that the Dockerfile copies are there, requirements are hash-locked, nobody is root."""
    copied = re.findall(r"^COPY (\S+) ", DOCKERFILE, re.MULTILINE)

    assert ["requirements/demo.txt", "."] == copied
    assert all((ROOT / name).exists() for name in copied)
    assert "--require-hashes -r requirements/demo.txt" in DOCKERFILE
    assert "confluent-kafka==" in (ROOT / "requirements" / "demo.txt").read_text()
    assert re.search(r"^USER parity$", DOCKERFILE, re.MULTILINE)
    assert 'ENTRYPOINT ["parity"]' in DOCKERFILE
    assert ".venv" in (ROOT / ".dockerignore").read_text().splitlines()
