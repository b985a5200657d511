"""``python -m backbone conformance --client … --gateway …``."""

import asyncio
import signal
import sys
from pathlib import Path
from typing import Annotated

import orjson
import typer
import uvloop
from rich.console import Console

from backbone.conformance.door import Door
from backbone.conformance.report import exit_code, judged, show
from common.http import http_client

REAL = 2
"""The exit code where the client turned out not to be one of the sandbox."""


def conformance(
    client: Annotated[str, typer.Option(help="Client id of the system to look at.")],
    gateway: Annotated[str, typer.Option(help="The gateway, where it is marked sandbox.")],
    listen: Annotated[str, typer.Option(help="Where the system is to call instead.")] = (
        "127.0.0.1:9090"
    ),
    seconds: Annotated[
        float, typer.Option(min=1, help="How long to look; Ctrl-C ends it earlier.")
    ] = 600,
    out: Annotated[Path | None, typer.Option(help="File for the verdicts as JSON.")] = None,
    sandbox_itself: Annotated[
        bool, typer.Option(help="`gateway` is the sandbox's own: its answers bear no mark.")
    ] = False,
) -> None:
    """Stand between a client system and the sandbox, disturb it, and judge what it does.

    Ends with 0: every obligation met; 1: one not met; 2: the client's work is real, so nothing was
    done; 3: not every obligation was seen.
    """
    host, _, port = listen.rpartition(":")
    sys.exit(
        uvloop.run(_conformance(client, gateway, host, int(port), seconds, out, sandbox_itself))
    )


async def _conformance(
    client: str,
    gateway: str,
    host: str,
    port: int,
    seconds: float,
    out: Path | None,
    sandbox_itself: bool,
) -> int:
    console = Console()
    async with http_client(base_url=gateway, timeout=60.0, connections=100) as http:
        door = Door(http, client, marked=not sandbox_itself)
        async with door.open(host, port) as address:
            console.print(f"Point {client} at {address} and let it work. Ctrl-C ends.")
            await _until_over(door, seconds)
    if door.real.is_set():
        console.print(f"{client} is not marked sandbox: its work is real, nothing was judged.")
        return REAL
    verdicts = judged(door.exchanges)
    show(console, verdicts, len(door.exchanges))
    if out is not None:
        told = [verdict.members() for verdict in verdicts]
        await asyncio.to_thread(out.write_bytes, orjson.dumps(told, option=orjson.OPT_INDENT_2))
    return exit_code(verdicts)


async def _until_over(door: Door, seconds: float) -> None:
    """Until Ctrl-C, the time is over, or the client turns out not to be one of the sandbox."""
    interrupted = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupted.set)
    ends = [asyncio.create_task(event.wait()) for event in (interrupted, door.real)]
    await asyncio.wait(ends, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    for task in ends:
        task.cancel()
