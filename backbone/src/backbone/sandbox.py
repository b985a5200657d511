"""The sandbox: all services with simulators, and databases of their own that are made anew.

Whatever was done in it is gone once a day. Clients are those of a real installation, whose gateway
sends their requests here with the tokens that it gave them; or, where there is none, one that is
made at the start, for whoever tries things out alone.
"""

import asyncio
import json
import secrets
import shutil
import signal
from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta, timezone
from pathlib import Path
from typing import Annotated, Any

import typer
import uvloop
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter
from rich.console import Console

from backbone.assembly import Client, Issuer, Plan, running
from backbone.demo import play
from common.telemetry import configure_logging

_VIETNAM = timezone(timedelta(hours=7))
_ISSUER = "urn:lienthong:sandbox"
_TRIER = "thu-nghiem"
_SCOPES = (
    *("dossiers:write", "dossiers:read", "dossiers:personal", "dossiers:search"),
    *("signing:read", "questions:read", "questions:write"),
)
"""Of whoever tries things out alone."""


class Trier(BaseModel):
    """A client of the real installation, with its rights in the sandbox."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    client_id: str
    scopes: tuple[str, ...]
    agencies: tuple[str, ...] = ("*",)
    procedures: tuple[str, ...] = Field(default=("*",), min_length=1)


_TRIERS = TypeAdapter(tuple[Trier, ...])


def sandbox(
    listen: Annotated[str, typer.Option(help="Address of its gateway.")] = "127.0.0.1:8100",
    clients: Annotated[
        Path | None,
        typer.Option(help="JSON list of {client_id, scopes, agencies?, procedures?}."),
    ] = None,
    issuer: Annotated[
        str, typer.Option(help="Issuer of these clients' tokens.")
    ] = "urn:lienthong:gateway",
    jwks: Annotated[
        str | None, typer.Option(help="Where that issuer's keys are: https, or this machine.")
    ] = None,
    erase_at: Annotated[
        str, typer.Option(help="When everything is made anew, each day in Vietnam.")
    ] = "02:00",
    folder: Annotated[Path, typer.Option(help="Where it is kept meanwhile.")] = Path(
        ".run/sandbox"
    ),
) -> None:
    """The same API over simulators; what was done in it is erased once a day."""
    if (clients is None) != (jwks is None):
        raise typer.BadParameter("--clients and --jwks belong together")
    triers = _TRIERS.validate_json(clients.read_bytes()) if clients else ()
    issuers = (Issuer(issuer, jwks, "urn:lienthong:backbone"),) if jwks else ()
    known = tuple(
        Client(
            one.client_id,
            secrets.token_urlsafe(32),
            one.scopes,
            one.agencies,
            one.procedures,
            external=(issuer, one.client_id),
        )
        for one in triers
    ) or (Client(_TRIER, secrets.token_urlsafe(24), _SCOPES, ("*",)),)
    host, _, port = listen.rpartition(":")
    uvloop.run(
        _days(host, int(port), known, issuers, time.fromisoformat(erase_at), folder.absolute())
    )


async def _days(
    host: str,
    port: int,
    clients: tuple[Client, ...],
    issuers: tuple[Issuer, ...],
    erase_at: time,
    folder: Path,
) -> None:
    console = Console()
    over = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, over.set)
    while not over.is_set():
        # Also what an earlier process left: it may have ended without clearing up.
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        play.fresh_folder(folder)
        with (folder / "services.log").open("w", buffering=1, encoding="utf-8") as log:
            configure_logging("INFO", log)
            async with play.stage(folder) as (postgres, outside):
                plan = Plan(
                    folder=folder,
                    databases=await play.databases(postgres),
                    ports=play.free_ports(port) | ({"gateway": port} if port else {}),
                    outside=outside,
                    clients=clients,
                    host=host,
                    token_issuer=_ISSUER,
                    external_issuers=issuers,
                )
                async with running(plan):
                    until = next_erasure(datetime.now(UTC), erase_at)
                    _tell(console, plan, clients, until)
                    await _wait(over, until)
    await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


def next_erasure(now: datetime, at: time) -> datetime:
    """The next moment at which the clock in Vietnam shows a time."""
    here = now.astimezone(_VIETNAM)
    today = here.replace(hour=at.hour, minute=at.minute, second=0, microsecond=0)
    return today if today > here else today + timedelta(days=1)


async def _wait(over: asyncio.Event, until: datetime) -> None:
    seconds = (until - datetime.now(UTC)).total_seconds()
    try:
        async with asyncio.timeout(max(seconds, 0.0)):
            await over.wait()
    except TimeoutError:
        pass


def _tell(console: Console, plan: Plan, clients: Sequence[Client], until: datetime) -> None:
    """One line of JSON: what whoever started it has to know."""
    told: dict[str, Any] = {"gateway": plan.url("gateway"), "erased_at": until.isoformat()}
    if not plan.external_issuers:
        told |= {"client_id": clients[0].client_id, "client_secret": clients[0].secret}
    console.print(json.dumps(told), soft_wrap=True, highlight=False, markup=False)
