"""The pytest plugin of parity: the session's broker, and a line at the end that says which it was.

Register it with ``pytest_plugins = ["parity.testing.pytest_plugin"]`` in the top ``conftest.py``.
Only fixtures and hooks belong here; what they hand out lives in the files beside this one, and
heavy libraries are imported inside the fixtures.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from parity.testing.broker import start_broker

if TYPE_CHECKING:
    from parity.publishers.memory import MemoryPublisher
    from parity.testing.broker import Broker

_BROKER_LINES = pytest.StashKey[list[str]]()


@pytest.fixture(scope="session")
def broker(request: pytest.FixtureRequest) -> Iterator[Broker]:
    """A broker of the Kafka API for the whole session; use topics of your own.

    Yields:
        The broker; PARITY_REQUIRE_KAFKA=1 makes its absence an error instead of a mock.
    """
    lines: list[str] = request.config.stash.setdefault(_BROKER_LINES, [])
    with start_broker(progress=lines.append) as started:
        lines.append(started.describe)
        yield started


@pytest.fixture(scope="session")
def kafka_broker(broker: Broker, request: pytest.FixtureRequest) -> Broker:
    """The session's broker where it is a real one; the test is skipped, saying why, where not."""
    if broker.kind == "mock":
        pytest.skip("no real broker: " + request.config.stash[_BROKER_LINES][0])
    return broker


@pytest.fixture
def memory_publisher() -> MemoryPublisher:
    """A publisher that keeps what it is given: the fake that runs beside the real ones."""
    from parity.publishers.memory import MemoryPublisher

    return MemoryPublisher()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Under pytest-xdist, tell the process that prints which broker this one had."""
    told = getattr(session.config, "workeroutput", None)
    if told is not None:
        told["parity_broker"] = session.config.stash.get(_BROKER_LINES, [])


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take what a process of pytest-xdist says at its end; one that died says nothing."""
    lines = node.config.stash.setdefault(_BROKER_LINES, [])
    lines.extend(getattr(node, "workeroutput", {}).get("parity_broker", ()))


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Say which broker the tests ran against, and why not a better one."""
    lines: list[str] = config.stash.get(_BROKER_LINES, [])
    for line in dict.fromkeys(lines):
        terminalreporter.write_line(f"broker: {line}")
