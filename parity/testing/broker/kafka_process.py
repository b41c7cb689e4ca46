"""Owns one Apache Kafka node (KRaft: broker and controller in one) for a process that may die.

`python -m parity.testing.broker.kafka_process FOLDER JAVA JARS PORT CONTROLLER_PORT CLUSTER_ID`
formats the folder, runs Java and speaks the line protocol. Commands: ``down`` (kill -9, what is
stored stays), ``up``, ``stop``. It stands between the owner and Java because the kernel's
parent-death signal follows the *thread* that started a process: only a process of one thread may
rely on it.

No import of confluent_kafka belongs here, nor any choice between kinds of broker.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from parity.testing.broker.errors import BrokerError
from parity.testing.broker.limits import FORMAT_LIMIT_S, START_LIMIT_S, TERMINATE_LIMIT_S
from parity.testing.broker.line_protocol import Answer, serve

_POLL_S = 0.02
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None  # opened before any fork

# Retention is off because it goes by the records' own timestamps: replayed ticks of last year
# would be deleted minutes after they were written. The session timeout is how long a node that was
# killed is refused when it comes back (9 s by default, plus up to 2 s until its next try).
_PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=127.0.0.1:{controller_port}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs={folder}/data
log.retention.ms=-1
log.cleaner.dedupe.buffer.size=16777216
auto.create.topics.enable=false
broker.session.timeout.ms=4000
broker.heartbeat.interval.ms=500
group.initial.rebalance.delay.ms=0
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
"""

# To the console, which goes to kafka.log: one file then also has what the JVM itself says.
_LOGGING = """\
status=error
appender.out.type=Console
appender.out.name=out
appender.out.layout.type=PatternLayout
appender.out.layout.pattern=%d{ISO8601} %p %c{1}: %m%n
rootLogger.level=info
rootLogger.appenderRef.out.ref=out
"""


class KafkaNode:
    """One Kafka node in a folder, started and killed as often as asked.

    Args:
        folder: for its settings, data, temporary files and log; must be there.
        java: the Java to run.
        jars: the folder of Kafka's jars.
        port: for clients, on the loopback interface.
        controller_port: for itself.
        cluster_id: 16 bytes in base64url; tells this node from another one on the same port.
    """

    def __init__(
        self, folder: Path, java: str, jars: str, port: int, controller_port: int, cluster_id: str
    ) -> None:
        self._folder = folder
        self._port = port
        self._cluster_id = cluster_id
        self._owner = os.getppid()
        self._process: subprocess.Popen[bytes] | None = None
        self._java = [
            *(java, "-cp", f"{jars}/*", "-XX:+UseSerialGC", "-Xmx512m"),
            "-XX:-UsePerfData",  # else a file in the system's temporary folder
            f"-Djava.io.tmpdir={folder}/tmp",  # kill -9 leaves the native codecs unpacked there
            f"-Dlog4j2.configurationFile={folder}/log4j2.properties",
            "-Dlog4j2.disable.jmx=true",
        ]
        self._settings = str(folder / "server.properties")
        self._properties = _PROPERTIES.format(
            folder=folder, port=port, controller_port=controller_port
        )

    def format(self) -> None:
        """Write the settings and let Kafka format its data folder.

        Raises:
            BrokerError: Kafka's own tool refused or took too long.
        """
        (self._folder / "tmp").mkdir()
        (self._folder / "log4j2.properties").write_text(_LOGGING)
        Path(self._settings).write_text(self._properties)
        process = self._spawn(
            "-XX:TieredStopAtLevel=1",  # it lives for a second
            *("kafka.tools.StorageTool", "format", "--standalone"),
            *(f"--cluster-id={self._cluster_id}", "--config", self._settings),
        )
        try:
            code = process.wait(FORMAT_LIMIT_S)
        except subprocess.TimeoutExpired:
            raise BrokerError(f"formatting took over {FORMAT_LIMIT_S:g} s") from None
        if code != 0:
            raise BrokerError(f"formatting ended with code {code}")

    def start(self) -> None:
        """Run Kafka and wait until its port answers.

        Raises:
            BrokerError: it ended, or took too long.
        """
        if self._is_running():
            return
        process = self._spawn("kafka.Kafka", self._settings)
        deadline = time.monotonic() + START_LIMIT_S
        while time.monotonic() < deadline:
            code = process.poll()
            if code is not None:
                raise BrokerError(f"ended with code {code} while starting")
            if os.getppid() != self._owner:
                raise SystemExit(1)  # nobody waits for it any more
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._port)):
                return
            time.sleep(_POLL_S)
        raise BrokerError(f"port {self._port} did not answer in {START_LIMIT_S:g} s")

    def kill(self) -> None:
        """End it as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> None:
        """End it in order, by force when that takes too long."""
        if self._process is not None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(TERMINATE_LIMIT_S)
            self.kill()

    def _is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _spawn(self, *arguments: str) -> subprocess.Popen[bytes]:
        with open(self._folder / "kafka.log", "ab") as log:
            self._process = subprocess.Popen(
                [*self._java, *arguments],
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=_die_with_parent,  # safe: this process has one thread
            )
        return self._process


def _die_with_parent() -> None:
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def main(arguments: Sequence[str]) -> None:
    """Own a Kafka node until the owner stops or dies; the arguments are those of the module."""
    folder, java, jars, port, controller_port, cluster_id = arguments
    node = KafkaNode(Path(folder), java, jars, int(port), int(controller_port), cluster_id)

    def start() -> Answer:
        node.format()
        return up()

    def up() -> Answer:
        node.start()
        return {}

    def down() -> Answer:
        node.kill()
        return {}

    serve(folder, start, {"up": up, "down": down}, node.stop)


if __name__ == "__main__":
    main(sys.argv[1:])
