"""The embedded PostgreSQL: durable, private, back after a crash, gone with its starter."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import psutil
import pytest

from backbone.postgres import EmbeddedPostgres, PostgresError


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "pg"
    left = [
        process
        for process in psutil.process_iter(["cmdline"])
        if str(tmp_path) in " ".join(process.info["cmdline"] or [])
    ]
    assert left == []


async def ask(address: str, question: str) -> object:
    connection = await asyncpg.connect(address)
    try:
        return await connection.fetchval(question)
    finally:
        await connection.close()


async def test_it_is_durable_and_quick(folder: Path) -> None:
    with EmbeddedPostgres(folder) as server:
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            assert await ask(server.dsn, f"SHOW {setting}") == "on"
        assert await ask(server.dsn, "SHOW listen_addresses") == "127.0.0.1"
        assert int(str(await ask(server.dsn, "SHOW max_connections"))) >= 200
    began = time.monotonic()
    with EmbeddedPostgres(folder):
        assert time.monotonic() - began < 2


async def test_fast_still_answers_after_the_commit(folder: Path) -> None:
    with EmbeddedPostgres(folder, fast=True) as server:
        assert await ask(server.dsn, "SHOW fsync") == "off"
        assert await ask(server.dsn, "SHOW synchronous_commit") == "on"


async def test_each_role_has_its_database_alone(folder: Path) -> None:
    with EmbeddedPostgres(folder, fast=True) as server:
        await server.create_database("one", 'r"ole', "first")
        one = await server.create_database("one", 'r"ole', "p'a\"s s/@:?")
        assert await server.create_database("one", 'r"ole', "p'a\"s s/@:?") == one
        await server.create_database("two", "other", "secret")
        await ask(one, "CREATE TABLE t ()")
        assert await ask(one, "SELECT current_user") == 'r"ole'
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await ask(one.replace("/one", "/two"), "SELECT 1")
        with pytest.raises(asyncpg.InvalidPasswordError):
            await ask(server.address("one", 'r"ole', "first"), "SELECT 1")


async def test_a_killed_server_keeps_what_was_committed(folder: Path) -> None:
    with EmbeddedPostgres(folder) as server:
        await ask(server.dsn, "CREATE TABLE kept AS SELECT 7 AS n")
        server.kill()
        server.start()
        assert await ask(server.dsn, "SELECT n FROM kept") == 7


async def test_a_killed_starter_leaves_no_server_and_a_folder_that_starts(folder: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from backbone.postgres import *\n"
        "server = EmbeddedPostgres(Path(sys.argv[1])); server.start()\n"
        "print(server.pid, flush=True); time.sleep(99)"
    )
    starter = subprocess.Popen(
        [sys.executable, "-c", script, str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert starter.stdout is not None
    pid = int(starter.stdout.readline())
    assert psutil.pid_exists(pid)
    os.kill(starter.pid, signal.SIGKILL)
    with EmbeddedPostgres(folder) as server:  # at once: the old one may still be stopping
        assert await ask(server.dsn, "SELECT 1") == 1
    assert not psutil.pid_exists(pid)
    starter.communicate()


async def test_a_lock_that_names_a_stranger_is_removed(folder: Path) -> None:
    with EmbeddedPostgres(folder, fast=True) as server:
        lock = (server.data / "postmaster.pid").read_text()
        server.kill()
    # Of the server's own account: another's PostgreSQL would not take for its predecessor.
    stranger = subprocess.Popen(["sleep", "99"], user=server.data.stat().st_uid)
    try:
        _, rest = lock.split("\n", 1)
        (server.data / "postmaster.pid").write_text(f"{stranger.pid}\n{rest}")
        with server:
            assert await ask(server.dsn, "SELECT 1") == 1
    finally:
        stranger.kill()
        stranger.wait()


def test_a_port_that_is_taken_is_named(folder: Path) -> None:
    with (
        EmbeddedPostgres(folder, fast=True) as first,
        pytest.raises(PostgresError, match=f"port {first.port}"),
    ):
        EmbeddedPostgres(folder.with_name("pg-other"), port=first.port, fast=True).start()


def test_a_folder_of_another_major_is_refused(folder: Path) -> None:
    with EmbeddedPostgres(folder, fast=True) as server:
        pass
    (server.data / "PG_VERSION").write_text("9\n")
    with pytest.raises(PostgresError, match="made by PostgreSQL 9"):
        server.start()


async def test_the_log_names_no_data(folder: Path) -> None:
    with EmbeddedPostgres(folder, fast=True) as server:
        await ask(server.dsn, "CREATE TABLE t (name text UNIQUE)")
        await ask(server.dsn, "INSERT INTO t VALUES ('Nguyen Van Sample')")
        with pytest.raises(asyncpg.UniqueViolationError):
            await ask(server.dsn, "INSERT INTO t VALUES ('Nguyen Van Sample')")
        log = server.log.read_text()
        assert "unique constraint" in log
        assert "Nguyen" not in log


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has folders that nobody else can walk")
async def test_root_may_keep_it_where_others_cannot_look(folder: Path) -> None:
    folder.parent.chmod(0o700)
    hidden = folder.parent / "hidden"
    hidden.mkdir(mode=0o700)
    with EmbeddedPostgres(hidden / "pg", fast=True) as server:
        assert await ask(server.dsn, "SELECT 1") == 1
        assert psutil.Process(server.pid).uids().effective != 0


def test_what_ends_is_said(folder: Path) -> None:
    with pytest.raises(PostgresError, match="no_such_setting"):
        EmbeddedPostgres(folder, fast=True, settings={"no_such_setting": "1"}).start()
    assert sys.exc_info() == (None, None, None)
