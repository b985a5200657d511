"""``python -m <service> serve | migrate | begin-epoch | …``, the body of each ``__main__.py``."""

import argparse
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

import uvicorn
import uvloop
from fastapi import FastAPI

from common.connections import guarded
from common.database import Database, migrate
from common.outbox import begin_epoch
from common.settings import ServerSettings, ServiceSettings, SettingsError, load
from common.telemetry import configure_logging

S = TypeVar("S", bound=ServiceSettings)


class CommandFailed(Exception):
    """A command did not do what it was asked; the message is told and the process ends with 1."""


@dataclass(frozen=True)
class Subcommand(Generic[S]):
    """What a service can do from the command line besides serving.

    Attributes:
        name: ``python -m <service> <name>``.
        summary: one line for ``--help``.
        work: does it, with the settings, the service's database and the arguments.
        arguments: declares its arguments.
    """

    name: str
    summary: str
    work: Callable[[S, Database, argparse.Namespace], Awaitable[object]]
    arguments: Callable[[argparse.ArgumentParser], object] = lambda _: None


def run(
    name: str, kind: type[S], create_app: Callable[[S], FastAPI], *subcommands: Subcommand[S]
) -> None:
    """Read the settings and serve, or do what one of the subcommands does.

    Ends the process with one line for each faulty setting where they are not usable.
    """
    package = name.replace("-", "_")
    known = {
        one.name: one
        for one in (
            Subcommand[S](
                "migrate", "bring the database to the newest schema", partial(_migrate, package)
            ),
            Subcommand[S]("begin-epoch", "number all streams anew after a restore", _begin_epoch),
            *subcommands,
        )
    }
    parser = argparse.ArgumentParser(prog=name)
    choices = parser.add_subparsers(dest="command", metavar="COMMAND")
    choices.add_parser("serve", help="run the service (the default)")
    for one in known.values():
        one.arguments(choices.add_parser(one.name, help=one.summary, description=one.summary))
    arguments = parser.parse_args()
    try:
        settings = load(kind)
    except SettingsError as error:
        sys.exit(f"{name}: {error}")
    configure_logging(settings.log_level)
    chosen = known.get(arguments.command)
    if chosen is None:
        uvloop.run(server(create_app(settings), settings).serve())
        return
    try:
        uvloop.run(_do(name, chosen, settings, arguments))
    except CommandFailed as error:
        sys.exit(f"{name}: {error}")


def server(app: FastAPI, settings: ServerSettings) -> uvicorn.Server:
    """The HTTP server of a service."""
    return uvicorn.Server(
        uvicorn.Config(
            app,
            host=settings.host,
            port=settings.port,
            http=guarded(settings),
            ws="none",
            loop="none",
            lifespan="on",
            access_log=False,
            log_config=None,
            server_header=False,
            proxy_headers=False,  # nobody but the peer itself says who the peer is
            timeout_keep_alive=75,
            timeout_graceful_shutdown=int(settings.shutdown_seconds),
        )
    )


async def _do(name: str, chosen: Subcommand[S], settings: S, arguments: argparse.Namespace) -> None:
    database = Database(settings, name=name)
    try:
        await chosen.work(settings, database, arguments)
    finally:
        await database.close()


async def _migrate(
    package: str, _: ServiceSettings, database: Database, __: argparse.Namespace
) -> None:
    await migrate(database, package)


async def _begin_epoch(_: ServiceSettings, database: Database, __: argparse.Namespace) -> None:
    await begin_epoch(database)
