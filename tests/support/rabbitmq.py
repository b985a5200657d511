"""A RabbitMQ node of the tests' own: private folder, free ports, gone when its starter is gone."""

import base64
import http.client
import json
import os
import secrets
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote, urlsplit

from backbone.leash import Leashed
from tests.support.rabbitmq_install import Installation, installation

USER = "lienthong"
_BOOT_SECONDS = 90


class RabbitMQError(RuntimeError):
    """The node did not start, or refused an order; the text says why."""


@dataclass(frozen=True)
class Broker:
    """A running RabbitMQ, ours or somebody's: what tests need to give themselves a virtual host.

    amqp: `amqp://user:password@host:port` without a path; management: `http://host:port`.
    """

    amqp: str
    management: str

    @classmethod
    def from_environment(cls) -> Self | None:
        """The broker named by TEST_AMQP_URL (and TEST_AMQP_MANAGEMENT_URL), if any."""
        url = os.environ.get("TEST_AMQP_URL")
        if not url:
            return None
        parts = urlsplit(url)
        management = os.environ.get("TEST_AMQP_MANAGEMENT_URL") or f"http://{parts.hostname}:15672"
        return cls(f"{parts.scheme}://{parts.netloc}", management)

    def vhost_url(self, vhost: str) -> str:
        """The address of a virtual host."""
        return f"{self.amqp}/{quote(vhost, safe='')}"

    def create_vhost(self, vhost: str) -> str:
        """Make a virtual host; returns its address."""
        self.request("PUT", f"/api/vhosts/{quote(vhost, safe='')}", {})
        return self.vhost_url(vhost)

    def delete_vhost(self, vhost: str) -> None:
        """Delete a virtual host with all it holds; its connections are closed."""
        self.request("DELETE", f"/api/vhosts/{quote(vhost, safe='')}")

    def request(self, method: str, path: str, body: object = None) -> Any:
        """One call of the management API; the JSON answer, or None where there is none."""
        address, login = urlsplit(self.management), urlsplit(self.amqp)
        token = base64.b64encode(f"{login.username}:{login.password}".encode()).decode()
        connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=30)
        try:
            connection.request(
                method,
                path,
                None if body is None else json.dumps(body),
                {"Authorization": f"Basic {token}", "Content-Type": "application/json"},
            )
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        if answer.status >= 300:
            raise RabbitMQError(f"{method} {path}: {answer.status} {text[:500]!r}")
        return json.loads(text) if text else None


class RabbitNode:
    """One node: `with RabbitNode(folder) as node`, or `start()`, `stop()`, `kill()`, `restart()`.

    folder: holds everything the node writes; its path must stay short and without spaces.
    Ports, name and data stay the same over restarts. Blocking; starting takes 4 to 6 s.
    """

    host = "127.0.0.1"

    def __init__(self, folder: Path, beside: "RabbitNode | None" = None) -> None:
        """``beside``: a node to share the port mapper, the cookie and the password with, as the
        nodes of one cluster do."""
        self.folder = folder.absolute()
        self.port, self.management_port, self._distribution_port, self._epmd_port = _free_ports(4)
        self.name = f"lienthong-{secrets.token_hex(4)}@localhost"
        self._password = secrets.token_hex(16)
        self._cookie = secrets.token_hex(16)
        self._maps_ports = beside is None
        if beside is not None:
            self._epmd_port, self._password = beside._epmd_port, beside._password
            self._cookie = beside._cookie
        self._installation: Installation | None = None
        self._server: Leashed | None = None
        self._epmd: Leashed | None = None

    @property
    def broker(self) -> Broker:
        """How to reach it."""
        return Broker(
            f"amqp://{USER}:{self._password}@{self.host}:{self.port}",
            f"http://{self.host}:{self.management_port}",
        )

    @property
    def url(self) -> str:
        """The address of the virtual host `/`."""
        return self.broker.vhost_url("/")

    @property
    def pid(self) -> int:
        """Of the running node's process."""
        assert self._server is not None
        return self._server.pid

    @property
    def running(self) -> bool:
        """Whether its process is alive."""
        return self._server is not None and self._server.running

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start the node and wait until it takes connections.

        Raises RabbitMQMissing where there is none, RabbitMQError with its last words otherwise.
        """
        if self._installation is None:
            self._write_configuration()
            self._installation = installation().reached_through(self.folder / "programs")
        environment, log = self._environment(), self.folder / "output.log"
        if self._maps_ports and (self._epmd is None or not self._epmd.running):
            epmd = [str(self._installation.epmd), "-port", str(self._epmd_port)]
            self._epmd = Leashed(epmd, log=log, grace=1, env=environment)
        self._server = Leashed(
            [str(self._installation.scripts / "rabbitmq-server")],
            log=log,
            grace=20,
            cwd=self.folder,
            env=environment,
        )
        self._await_boot(log)

    def join(self, other: "RabbitNode") -> None:
        """Become a node of the other one's cluster; what this node held is forgotten."""
        self.ctl("stop_app")
        self.ctl("join_cluster", other.name)
        self.ctl("start_app")

    def kill_broker(self) -> None:
        """SIGKILL the broker alone; the port mapper, which others may share, goes on."""
        if self._server is not None:
            self._server.kill()
            self._server = None

    def stop(self) -> None:
        """Shut down in order."""
        self._end(Leashed.stop)

    def kill(self) -> None:
        """SIGKILL it, as a crash would."""
        self._end(Leashed.kill)

    def restart(self) -> None:
        """Start again on the same ports and data, after `kill()` or `stop()` or by itself."""
        self.stop()
        self.start()

    def freeze(self) -> None:
        """Stop it from running while its connections stay open (SIGSTOP)."""
        self._signal(signal.SIGSTOP)
        while not self._stopped():  # on a busy machine its threads stop one after the other
            time.sleep(0.001)

    def thaw(self) -> None:
        """Let it run again (SIGCONT)."""
        self._signal(signal.SIGCONT)

    def close_connections(self) -> None:
        """Close every client's connection, as an operator or a failing network would."""
        self.ctl("close_all_connections", "--global", "test")

    def queue_depths(self, vhost: str = "/") -> dict[str, int]:
        """Messages in each queue, ready and unacknowledged together."""
        listed = self.ctl(
            "--vhost", vhost, "--formatter", "json", "list_queues", "name", "messages", "--silent"
        )
        return {queue["name"]: queue["messages"] for queue in json.loads(listed)}

    def ctl(self, *arguments: str) -> str:
        """Run `rabbitmqctl`; its output. Takes 1 to 2 s."""
        if self._installation is None:
            raise RabbitMQError("the node has not been started")
        done = subprocess.run(
            [self._installation.scripts / "rabbitmqctl", "--node", self.name, *arguments],
            env=self._environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        if done.returncode:
            raise RabbitMQError(f"rabbitmqctl {' '.join(arguments)}: {done.stdout}{done.stderr}")
        return done.stdout

    def _stopped(self) -> bool:
        pid = self._server.pid if self._server else 0
        states = [
            stat.read_text().rpartition(")")[2].split()[0]
            for stat in Path(f"/proc/{pid}/task").glob("*/stat")
        ]
        return bool(states) and set(states) <= {"T", "t"}

    def _signal(self, number: signal.Signals) -> None:
        if self._server is None:
            raise RabbitMQError("the node is not running")
        os.kill(self._server.pid, number)

    def _end(self, how: Any) -> None:
        for program in (self._server, self._epmd):
            if program is not None:
                how(program)
        self._server = self._epmd = None

    def _write_configuration(self) -> None:
        home = self.folder / "home"
        home.mkdir(parents=True, exist_ok=True)
        cookie = home / ".erlang.cookie"
        cookie.write_text(self._cookie)
        cookie.chmod(0o400)
        (self.folder / "enabled_plugins").write_text("[rabbitmq_management].\n")
        (self.folder / "rabbitmq-env.conf").touch()
        (self.folder / "rabbitmq.conf").write_text(
            f"listeners.tcp.local = {self.host}:{self.port}\n"
            f"management.tcp.ip = {self.host}\n"
            f"management.tcp.port = {self.management_port}\n"
            f"default_user = {USER}\n"
            f"default_pass = {self._password}\n"
            "disk_free_limit.absolute = 50MB\n"
            "log.file.level = warning\n"
        )

    def _environment(self) -> dict[str, str]:
        if self._installation is None:
            raise RabbitMQError("the node has not been started")
        folder = str(self.folder)
        return {
            **self._installation.environment(),
            "HOME": f"{folder}/home",
            "RABBITMQ_NODENAME": self.name,
            "RABBITMQ_CONF_ENV_FILE": f"{folder}/rabbitmq-env.conf",
            "RABBITMQ_CONFIG_FILE": f"{folder}/rabbitmq.conf",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{folder}/enabled_plugins",
            "RABBITMQ_MNESIA_BASE": f"{folder}/data",
            "RABBITMQ_LOG_BASE": f"{folder}/log",
            "RABBITMQ_GENERATED_CONFIG_DIR": f"{folder}/generated",
            "RABBITMQ_PID_FILE": f"{folder}/pid",
            "RABBITMQ_DIST_PORT": str(self._distribution_port),
            # Loopback only; and counts of messages fresher than the usual 5 s.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
                "-kernel inet_dist_use_interface {127,0,0,1} -rabbit quorum_tick_interval 500"
            ),
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": self.host,
            # Makes the script become the broker instead of waiting for it, so that the process
            # on the leash, and the one that is killed, is the broker itself.
            "RUNNING_UNDER_SYSTEMD": "true",
        }

    def _await_boot(self, log: Path) -> None:
        deadline = time.monotonic() + _BOOT_SECONDS
        while time.monotonic() < deadline and self._server is not None and self._server.running:
            if self._greets() and self._manages():
                return
            time.sleep(0.05)
        self.kill()
        words = log.read_bytes()[-2000:].decode(errors="replace")
        raise RabbitMQError(f"RabbitMQ did not start, see {self.folder}:\n{words}")

    def _greets(self) -> bool:
        try:
            with socket.create_connection((self.host, self.port), timeout=1) as connection:
                connection.sendall(b"AMQP\x00\x00\x09\x01")
                return connection.recv(8)[:1] == b"\x01"
        except OSError:
            return False

    def _manages(self) -> bool:
        try:
            self.broker.request("GET", "/api/whoami")
        except (OSError, http.client.HTTPException, RabbitMQError):
            return False
        return True


def _free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()
