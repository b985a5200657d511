"""Start the outside systems: one, or all of them in one process.

    python -m simulators national-portal|signing-gateway|emc|tsa --port N
    python -m simulators smartca|mysign|csc-v1|csc-v2 --port N
    python -m simulators all|providers --ports-base N

`all` is the first four, `providers` those that sign hashes (smartca, mysign, csc-v1, csc-v2).

Each program prints one JSON line with its address once it listens.
"""

import asyncio
import contextlib
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Literal

import orjson
import typer
import uvicorn
import uvloop

from simulators.wire import Simulator

KEEP_ALIVE = 75  # seconds; longer than clients pool connections, so that no reuse meets a close
GRACE = 1  # seconds for calls under way; half-open ones would hold the program up for ever

HASHES = ("smartca", "mysign", "csc-v1", "csc-v2")
PORTAL = "National portal"
SIGNING = "Signing gateway"


def start(
    program: Literal[
        "national-portal",
        "signing-gateway",
        "emc",
        "tsa",
        "smartca",
        "mysign",
        "csc-v1",
        "csc-v2",
        "all",
        "providers",
    ],
    port: Annotated[
        int,
        typer.Option(
            "--port",
            "--ports-base",
            min=0,
            max=65532,
            help="Port, or the first of four; 0 takes free ones.",
        ),
    ],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    seed: Annotated[int, typer.Option(help="Makes every draw repeatable.")] = 0,
    state: Annotated[
        Path | None,
        typer.Option(help="Directory for the books (one below it per program for all)."),
    ] = None,
    delay: Annotated[float, typer.Option(min=0, help="Added to every call, milliseconds.")] = 0,
    extensions: Annotated[
        bool,
        typer.Option(help="Offer calls the real system may not have.", rich_help_panel=PORTAL),
    ] = False,
    session_ttl: Annotated[
        float, typer.Option(min=0, help="Life of a session, seconds.", rich_help_panel=PORTAL)
    ] = 1800,
    account: Annotated[
        list[str] | None,
        typer.Option(help="user:password that is let in; none: any.", rich_help_panel=PORTAL),
    ] = None,
    success: Annotated[
        Literal["plain", "mixed"],
        typer.Option(help="How success is told.", rich_help_panel=PORTAL),
    ] = "plain",
    catalogue: Annotated[
        Path | None,
        typer.Option(help="JSON with procedures, agencies, fields.", rich_help_panel=PORTAL),
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(help="Bearer token every call must carry.", rich_help_panel=SIGNING),
    ] = None,
    person_ms: Annotated[
        float,
        typer.Option(min=0, help="Time a person takes, milliseconds.", rich_help_panel=SIGNING),
    ] = 20,
    keys: Annotated[
        Literal["rsa", "ecdsa", "mixed"],
        typer.Option(help="Keys of the persons.", rich_help_panel=SIGNING),
    ] = "rsa",
    crls: Annotated[
        str | None,
        typer.Option(
            help="Address of its /crls as certificates name it (smartca, mysign, csc, tsa).",
            rich_help_panel=SIGNING,
        ),
    ] = None,
    title: Annotated[str, typer.Option(help="The authority's name (tsa).")] = "TSA thử nghiệm",
    days: Annotated[
        float | None,
        typer.Option(help="After how many the authority's certificate ends (tsa)."),
    ] = None,
    callback: Annotated[
        str | None,
        typer.Option(
            help="Address told of outcomes (smartca, mysign); of providers its beginning, to which "
            "/<program> is added.",
            rich_help_panel=SIGNING,
        ),
    ] = None,
) -> None:
    """Start one outside system, or all of them in one process."""
    if any(":" not in one for one in account or ()):
        raise typer.BadParameter("--account is user:password")

    def directory(name: str) -> Path | None:
        return state / name if state and program in ("all", "providers") else state

    # Each program is imported when it is started: the portal needs no signing library.

    def portal() -> Simulator:
        from simulators.national_portal import NationalPortal

        return NationalPortal(
            seed,
            directory("national-portal"),
            delay,
            session_ttl=session_ttl,
            accounts=dict(one.split(":", 1) for one in account) if account else None,
            mixed_success=success == "mixed",
            catalogue=catalogue,
            extensions=extensions,
        )

    def gateway() -> Simulator:
        from simulators.signing_gateway import SigningGateway

        return SigningGateway(
            seed,
            directory("signing-gateway"),
            delay,
            token=token,
            person_ms=person_ms,
            keys=keys,
        )

    def emc() -> Simulator:
        from simulators.emc import Emc

        return Emc(seed, directory("emc"), delay)

    def tsa() -> Simulator:
        from simulators.tsa import TimestampAuthority

        # With all programs, --crls is the signing service's.
        lists = crls if program == "tsa" else None
        place = directory("tsa")
        return TimestampAuthority(seed, place, delay, title=title, days=days, crls=lists)

    def hashes(name: str) -> Simulator:
        from simulators.csc import CscV1, CscV2
        from simulators.mysign import MySign
        from simulators.smartca import SmartCa

        kinds: dict[str, Callable[..., Simulator]] = {
            "smartca": SmartCa,
            "mysign": MySign,
            "csc-v1": CscV1,
            "csc-v2": CscV2,
        }
        return kinds[name](
            seed,
            directory(name),
            delay,
            accounts=dict(one.split(":", 1) for one in account) if account else None,
            callback=f"{callback}/{name}" if callback and program == "providers" else callback,
            person_ms=person_ms,
            keys=keys,
            crls=crls,
        )

    makers: dict[str, Callable[[], Simulator]] = {
        "national-portal": portal,
        "signing-gateway": gateway,
        "emc": emc,
        "tsa": tsa,
    }
    chosen = [make() for name, make in makers.items() if program in (name, "all")]
    if not chosen:
        names = HASHES if program == "providers" else (program,)
        chosen = [hashes(name) for name in names]
    ports = [port + i if port else 0 for i in range(len(chosen))]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(chosen, host, ports))


class _Server(uvicorn.Server):
    """A server that leaves the signals to the process, which may run several of them."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _serve(programs: list[Simulator], host: str, ports: list[int]) -> None:
    servers = [_Server(_config(program)) for program in programs]

    def stop() -> None:
        for server in servers:
            server.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop)
    listening = [socket.create_server((host, port)) for port in ports]
    for program, listener in zip(programs, listening, strict=True):
        url = f"http://{host}:{listener.getsockname()[1]}"
        print(orjson.dumps({"program": program.name, "url": url}).decode(), flush=True)
    await asyncio.gather(
        *(server.serve([listener]) for server, listener in zip(servers, listening, strict=True))
    )
    for program in programs:
        program.books.close()


def _config(program: Simulator) -> uvicorn.Config:
    return uvicorn.Config(
        program,
        http="httptools",
        ws="none",
        interface="asgi3",
        lifespan="off",
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=GRACE,
    )


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(start)
    app(prog_name="python -m simulators")
