"""``python -m <service> serve | migrate | begin-epoch``, the body of each ``__main__.py``."""

import argparse
import sys
from collections.abc import Awaitable, Callable
from typing import TypeVar

import uvicorn
import uvloop
from fastapi import FastAPI

from common.database import Database, migrate
from common.outbox import begin_epoch
from common.settings import ServerSettings, ServiceSettings, SettingsError, load
from common.telemetry import configure_logging

S = TypeVar("S", bound=ServiceSettings)


def run(name: str, kind: type[S], create_app: Callable[[S], FastAPI]) -> None:
    """Read the settings and serve, or only migrate, or begin a new epoch after a restore.

    Ends the process with status 2 and one line for each faulty setting where they are not usable.
    """
    parser = argparse.ArgumentParser(prog=name)
    parser.add_argument(
        "command", choices=("serve", "migrate", "begin-epoch"), nargs="?", default="serve"
    )
    command = parser.parse_args().command
    try:
        settings = load(kind)
    except SettingsError as error:
        sys.exit(f"{name}: {error}")
    configure_logging(settings.log_level)
    package = name.replace("-", "_")
    match command:
        case "migrate":
            uvloop.run(_with_database(name, settings, lambda database: migrate(database, package)))
        case "begin-epoch":
            uvloop.run(_with_database(name, settings, begin_epoch))
        case _:
            uvloop.run(server(create_app(settings), settings).serve())


def server(app: FastAPI, settings: ServerSettings) -> uvicorn.Server:
    """The HTTP server of a service."""
    return uvicorn.Server(
        uvicorn.Config(
            app,
            host=settings.host,
            port=settings.port,
            http="httptools",
            loop="none",
            lifespan="on",
            access_log=False,
            log_config=None,
            server_header=False,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=int(settings.shutdown_seconds),
            h11_max_incomplete_event_size=64 * 1024,
            limit_concurrency=2000,
        )
    )


async def _with_database(
    name: str, settings: ServiceSettings, work: Callable[[Database], Awaitable[object]]
) -> None:
    database = Database(settings, name=name)
    try:
        await work(database)
    finally:
        await database.close()
