"""Owns one Apache Kafka node (KRaft: broker and controller in one) for a process that may die.

`python -m parity.testing.broker.kafka_process FOLDER JAVA JARS PORT CONTROLLER_PORT TLS_PORT
SASL_PORT ID` formats the folder (ID is the cluster's), runs Java and speaks the line protocol.
Commands: ``down`` (kill -9, what is stored stays), ``up``, ``stop``. It stands between the owner
and Java because the kernel's parent-death signal follows the *thread* that started a process: only
a process of one thread may rely on it.

No import of confluent_kafka belongs here, nor any choice between kinds of broker.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
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
listeners={listeners}
advertised.listeners={listeners}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,TLS:SSL,SASL:SASL_SSL
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

# Listeners beside the plain one; a key of its own for each node, made by Java's keytool.
_TLS_PROPERTIES = """\
listener.name.{name}.ssl.keystore.type=PKCS12
listener.name.{name}.ssl.keystore.location={folder}/tls.p12
listener.name.{name}.ssl.keystore.password={password}
listener.name.{name}.ssl.key.password={password}
"""
_SASL_PROPERTIES = """\
listener.name.sasl.sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.sasl.scram-sha-512.sasl.jaas.config=\
org.apache.kafka.common.security.scram.ScramLoginModule required;
"""
_SASL_USER = "parity"
_TLS_PASSWORD = "parity"  # keytool wants one; the folder is its owner's alone

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
        tls_port: for clients that speak TLS; 0 is none.
        sasl_port: for those that give a password over TLS, too; 0 is none.
        cluster_id: 16 bytes in base64url; tells this node from another one on the same port.

    Attributes:
        ca: the certificate that clients of its TLS listeners must trust.
        password: of the user of its SASL listener, by SCRAM-SHA-512.
    """

    def __init__(
        self, folder: Path, java: str, jars: str, port: int, controller_port: int, tls_port: int,
        sasl_port: int, cluster_id: str,
    ) -> None:  # fmt: skip
        self.ca = folder / "ca.pem"
        self.password = secrets.token_hex(12)
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
        self._tls = bool(tls_port)
        ports = {"PLAINTEXT": port, "CONTROLLER": controller_port}
        ports |= {"TLS": tls_port, "SASL": sasl_port} if tls_port else {}
        listeners = ",".join(f"{name}://127.0.0.1:{at}" for name, at in ports.items())
        self._properties = _PROPERTIES.format(
            folder=folder, listeners=listeners, controller_port=controller_port
        )
        if tls_port:
            for name in ("tls", "sasl"):
                given = {"folder": folder, "password": _TLS_PASSWORD}
                self._properties += _TLS_PROPERTIES.format(name=name, **given)
            self._properties += _SASL_PROPERTIES

    def format(self) -> None:
        """Write the settings and let Kafka format its data folder.

        Raises:
            BrokerError: Kafka's own tool refused or took too long.
        """
        (self._folder / "tmp").mkdir()
        (self._folder / "log4j2.properties").write_text(_LOGGING)
        if self._tls:
            self._make_certificate()
        Path(self._settings).write_text(self._properties)
        command = [
            *(*self._java, "-XX:TieredStopAtLevel=1"),  # it lives for a second
            *("kafka.tools.StorageTool", "format", "--standalone"),
            *(f"--cluster-id={self._cluster_id}", "--config", self._settings),
        ]
        if self._tls:
            user = f"name={_SASL_USER},password={self.password}"
            command += ["--add-scram", f"SCRAM-SHA-512=[{user}]"]
        self._wait_for("formatting", command)

    def start(self) -> None:
        """Run Kafka and wait until its port answers.

        Raises:
            BrokerError: it ended, or took too long.
        """
        if self._is_running():
            return
        process = self._spawn([*self._java, "kafka.Kafka", self._settings])
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

    def _make_certificate(self) -> None:
        # keytool comes with Java. What it signs itself is its own authority: clients trust that.
        keytool = str(Path(self._java[0]).resolve().with_name("keytool"))
        store = ["-keystore", str(self._folder / "tls.p12"), "-storepass", _TLS_PASSWORD]
        self._wait_for("making a key", [
            *(keytool, "-genkeypair", "-alias", "broker", "-storetype", "PKCS12", *store),
            *("-keyalg", "EC", "-groupname", "secp256r1", "-validity", "2"),
            *("-dname", "CN=127.0.0.1", "-ext", "san=ip:127.0.0.1", "-ext", "bc=ca:true"),
        ])  # fmt: skip
        self._wait_for("exporting the certificate", [
            *(keytool, "-exportcert", "-rfc", "-alias", "broker", "-file", str(self.ca), *store)
        ])  # fmt: skip

    def _wait_for(self, what: str, command: Sequence[str]) -> None:
        try:
            code = self._spawn(command).wait(FORMAT_LIMIT_S)
        except subprocess.TimeoutExpired:
            raise BrokerError(f"{what} took over {FORMAT_LIMIT_S:g} s") from None
        except OSError as error:
            raise BrokerError(f"{what}: {error}") from None
        if code != 0:
            raise BrokerError(f"{what} ended with code {code}")

    def _spawn(self, command: Sequence[str]) -> subprocess.Popen[bytes]:
        with open(self._folder / "kafka.log", "ab") as log:
            self._process = subprocess.Popen(
                command,
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
    folder, java, jars, *ports, cluster_id = arguments
    port, controller_port, tls_port, sasl_port = map(int, ports)
    all_ports = (port, controller_port, tls_port, sasl_port)
    node = KafkaNode(Path(folder), java, jars, *all_ports, cluster_id)

    def start() -> Answer:
        node.format()
        return {**up(), "ca": str(node.ca), "username": _SASL_USER, "password": node.password}

    def up() -> Answer:
        node.start()
        return {}

    def down() -> Answer:
        node.kill()
        return {}

    serve(folder, start, {"up": up, "down": down}, node.stop)


if __name__ == "__main__":
    main(sys.argv[1:])
