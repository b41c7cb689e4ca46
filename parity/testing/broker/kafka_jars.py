"""Finds Java and the jars of Apache Kafka; Maven resolves them once, a cache folder keeps them.

Maven is its own judge of where jars come from: only coordinates are given. Nothing here starts a
broker, and no address of a registry belongs here.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from parity.testing.broker.errors import BrokerError
from parity.testing.broker.limits import RESOLVE_LIMIT_S

KAFKA_VERSION = "4.1.1"
JAVA_VERSION_MIN = 17

_STALE_S = 3600.0  # a resolve that has run this long was killed
_PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
_COORDINATES = (
    ("org.apache.kafka", "kafka_2.13", KAFKA_VERSION),
    # Kafka's jars come without a logger; slf4j there is 1.7, so not log4j-slf4j2-impl.
    ("org.apache.logging.log4j", "log4j-slf4j-impl", "2.24.3"),
    ("org.apache.logging.log4j", "log4j-core", "2.24.3"),
)


def find_java() -> str:
    """Return the path of a Java on PATH that can run Kafka.

    Raises:
        BrokerError: there is none, or it is too old.
    """
    java = shutil.which("java")
    if java is None:
        raise BrokerError("java not found on PATH", cure=f"install Java {JAVA_VERSION_MIN}+")
    try:
        told = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BrokerError(f"java: {error}") from error
    version = java_version(told.stderr + told.stdout)
    if version is None or version < JAVA_VERSION_MIN:
        raise BrokerError(
            f"java is version {version or 'unknown'}, Kafka needs {JAVA_VERSION_MIN}",
            cure=f"install Java {JAVA_VERSION_MIN}+",
        )
    return java


def java_version(text: str) -> int | None:
    """Return the feature release that ``java -version`` names.

    >>> java_version('openjdk version "17.0.15" 2025-04-15'), java_version('version "1.8.0_402"')
    (17, 8)
    """
    found = re.search(r'version "(?:1\.)?(\d+)', text)
    return int(found[1]) if found else None


def cache_folder() -> Path:
    """Return where downloads are kept: PARITY_CACHE_DIR, else the user's cache folder."""
    if own := os.environ.get("PARITY_CACHE_DIR"):
        return Path(own)
    users = os.environ.get("XDG_CACHE_HOME")
    return (Path(users) if users else Path.home() / ".cache") / "parity"


def kafka_jars(progress: Callable[[str], None]) -> Path:
    """Return the folder of Kafka's jars, resolved by Maven the first time.

    Args:
        progress: told when Maven is called, because that takes a while.

    Returns:
        A folder that holds all the jars and nothing half.

    Raises:
        BrokerError: they are not in the cache and Maven is absent, fails or takes too long.
    """
    libs = cache_folder() / f"kafka-{KAFKA_VERSION}" / "libs"
    if _is_current(libs):
        return libs
    maven = shutil.which("mvn")
    if maven is None:
        raise BrokerError(
            "mvn not found on PATH, and Kafka's jars are not in the cache", cure="install Maven"
        )
    progress(f"resolving Apache Kafka {KAFKA_VERSION} with Maven, once (about 45 MB)")
    try:
        libs.parent.mkdir(parents=True, exist_ok=True)
        _sweep(libs.parent)
        fresh = Path(tempfile.mkdtemp(prefix="resolving-", dir=libs.parent))
    except OSError as error:
        raise BrokerError(
            f"{libs.parent}: cannot keep Kafka's jars there: {error.strerror}",
            cure="point PARITY_CACHE_DIR at a folder you can write",
        ) from error
    try:
        _resolve(maven, fresh)
        _publish(fresh, libs)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return libs


def _pom() -> str:
    dependencies = "".join(
        f"    <dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId>"
        f"<version>{version}</version></dependency>\n"
        for group, artifact, version in _COORDINATES
    )
    return (
        "<project>\n  <modelVersion>4.0.0</modelVersion>\n  <groupId>parity</groupId>\n"
        "  <artifactId>kafka-jars</artifactId>\n  <version>1</version>\n"
        f"  <packaging>pom</packaging>\n  <dependencies>\n{dependencies}  </dependencies>\n"
        "</project>\n"
    )


def _is_current(libs: Path) -> bool:
    # The pom moves in together with the jars: the same text means the same jars, all of them.
    try:
        return (libs / "pom.xml").read_text() == _pom()
    except OSError:
        return False


def _resolve(maven: str, folder: Path) -> None:
    pom = folder / "pom.xml"
    pom.write_text(_pom())
    process = subprocess.Popen(
        [
            *(maven, "--batch-mode", "--quiet", "-Dstyle.color=never", "-f", str(pom)),
            *(_PLUGIN, f"-DoutputDirectory={folder}", "-DincludeScope=runtime"),
        ],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        told, _ = process.communicate(timeout=RESOLVE_LIMIT_S)
    except subprocess.TimeoutExpired:
        raise BrokerError(f"mvn: not done in {RESOLVE_LIMIT_S:g} s") from None
    finally:
        # mvn is a script: end what it started too, whatever made us leave.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    if process.returncode != 0:
        raise BrokerError(f"mvn: ended with code {process.returncode}: {_first_error(told)}")
    if not (folder / f"kafka_2.13-{KAFKA_VERSION}.jar").is_file():
        raise BrokerError(f"mvn: copied no jar of Kafka {KAFKA_VERSION}")


def _first_error(told: str) -> str:
    lines = [line for line in told.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("[ERROR]")]
    return (errors or lines or ["no message"])[0].removeprefix("[ERROR] ")[:300]


def _publish(fresh: Path, libs: Path) -> None:
    """Give the folder its final name in one step, so that no reader ever sees half of it."""
    for _ in range(2):
        with contextlib.suppress(OSError):  # there already: another process's, or an older one
            fresh.rename(libs)
        if _is_current(libs):
            return
        with contextlib.suppress(OSError):
            libs.rename(Path(tempfile.mkdtemp(prefix="resolving-", dir=libs.parent)) / "old")
    raise BrokerError(
        f"{libs}: cannot be replaced", cure="remove it, or point PARITY_CACHE_DIR elsewhere"
    )


def _sweep(folder: Path) -> None:
    """Remove what killed resolves left behind."""
    for left in folder.glob("resolving-*"):
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > _STALE_S:
                shutil.rmtree(left, ignore_errors=True)
