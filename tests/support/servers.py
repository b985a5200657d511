"""One PostgreSQL and one RabbitMQ for a whole test run, started when a test first asks.

With xdist the tests run in several processes and none of them outlives all others: so the process
that controls the run owns the servers, and its workers ask it over a socket (`ServerDesk`).
"""

import os
import secrets
import shutil
import tempfile
import threading
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from typing import Literal

import psutil

from backbone.postgres import EmbeddedPostgres
from tests.support.rabbitmq import Broker, RabbitNode

Which = Literal["postgres", "broker"]

_MEMORY, _ROOM = Path("/dev/shm"), 4 << 30  # noqa: S108 - only a folder of our own is made there
_SMALL = {"max_wal_size": "256MB"}  # of the log that a crash would need, by default up to 1 GB


class ServerUnavailable(RuntimeError):
    """A server the tests need did not start; the text says why and what to do."""


class SharedServers:
    """Owns the servers of a test run. What they write lies in a temporary folder, PostgreSQL's
    data in one of its own: a database is made and removed for nearly every test, which costs a
    disk several times what it costs memory."""

    def __init__(self) -> None:
        _sweep()
        prefix = f"lienthong-tests-{os.getpid()}-"
        self.folder = Path(tempfile.mkdtemp(prefix=prefix))
        self._data = Path(tempfile.mkdtemp(prefix=prefix, dir=_MEMORY if _has_room() else None))
        self._data.chmod(0o755)  # PostgreSQL runs as another account where we are root
        self._locks = {"postgres": threading.Lock(), "broker": threading.Lock()}
        self._postgres: EmbeddedPostgres | None = None
        self._node: RabbitNode | None = None
        self._failed: dict[str, str] = {}

    def address(self, which: Which) -> tuple[str, ...]:
        """Where a server is: the arguments of `Broker`, or PostgreSQL's superuser address.

        Starts it first where it does not run. Raises ServerUnavailable, quickly after the first
        failure.
        """
        with self._locks[which]:
            if which in self._failed:
                raise ServerUnavailable(self._failed[which])
            try:
                return self._postgres_address() if which == "postgres" else self._broker_address()
            except Exception as error:
                self._failed[which] = f"{type(error).__name__}: {error}"
                raise ServerUnavailable(self._failed[which]) from error

    def stop(self) -> None:
        """End the servers this run started and remove what they wrote."""
        if self._node is not None:
            self._node.kill()  # its data goes with the folder; an orderly end takes 6 s
        if self._postgres is not None:
            self._postgres.stop()
        for folder in (self.folder, self._data):
            shutil.rmtree(folder, ignore_errors=True)

    def _postgres_address(self) -> tuple[str, ...]:
        if given := os.environ.get("TEST_DATABASE_URL"):
            return (given.replace("postgresql+asyncpg://", "postgresql://", 1),)
        if self._postgres is None:
            server = EmbeddedPostgres(self._data, fast=True, settings=_SMALL)
            server.start()
            self._postgres = server
        return (self._postgres.dsn,)

    def _broker_address(self) -> tuple[str, ...]:
        if given := Broker.from_environment():
            try:
                given.request("GET", "/api/whoami")
            except OSError as error:
                raise ServerUnavailable(
                    f"{given.management} does not answer ({error}): the broker that TEST_AMQP_URL "
                    "names needs the management plugin; TEST_AMQP_MANAGEMENT_URL says where it is"
                ) from error
            return (given.amqp, given.management)
        if self._node is None:
            node = RabbitNode(self.folder / "rabbitmq")
            node.start()
            self._node = node
        return (self._node.broker.amqp, self._node.broker.management)


class ServerDesk:
    """Answers workers that ask for a server's address. `address` and `key` let one ask."""

    def __init__(self, servers: SharedServers) -> None:
        self._servers = servers
        self.key = secrets.token_bytes(16)
        self._listener = Listener(str(servers.folder / "desk"), "AF_UNIX", 64, self.key)
        self.address = str(self._listener.address)
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        """Answer nobody any more."""
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: "Connection[object, object]") -> None:
        with connection:
            which = connection.recv()
            try:
                connection.send((True, self._servers.address(which)))  # type: ignore[arg-type]
            except ServerUnavailable as error:
                connection.send((False, str(error)))


def ask(address: str, key: bytes, which: Which) -> tuple[str, ...]:
    """In a worker: the address of a server. Raises ServerUnavailable."""
    with Client(address, "AF_UNIX", key) as connection:
        connection.send(which)
        worked, answer = connection.recv()
    if not worked:
        raise ServerUnavailable(answer)
    return tuple(answer)


def _sweep() -> None:
    """Remove the folders of runs that were killed; their servers ended with them."""
    for place in (Path(tempfile.gettempdir()), _MEMORY):
        for folder in place.glob("lienthong-tests-*-*"):
            owner = folder.name.split("-")[2]
            if owner.isdigit() and not Path(f"/proc/{owner}").exists():
                shutil.rmtree(folder, ignore_errors=True)


def _has_room() -> bool:
    """Whether memory can hold the data without anybody missing it."""
    if not os.access(_MEMORY, os.W_OK):
        return False
    available: int = psutil.virtual_memory().available
    return min(shutil.disk_usage(_MEMORY).free, available) >= _ROOM
