"""``python -m backbone``: run everything, or write the contracts."""

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer
import uvloop
from rich.console import Console

from backbone import contracts as published
from backbone.assembly import MODULES, Client, Outside, Plan, running
from backbone.conformance.command import conformance
from backbone.demo import acts, play
from backbone.demo.client import ClientSystem
from backbone.demo.flags import operators_side
from backbone.demo.report import show
from backbone.deployment import write_compose
from backbone.log_verification.command import log
from backbone.sandbox import sandbox
from backbone.settings_example import example
from common.telemetry import configure_logging

cli = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
cli.add_typer(log, name="log")
cli.command()(sandbox)
cli.command()(conformance)


@cli.command()
def run(
    once: Annotated[
        bool, typer.Option(help="End after the comparison: 0 if nothing differs.")
    ] = False,
    count: Annotated[int, typer.Option(min=1, help="How many dossiers.")] = 300,
    seed: Annotated[int, typer.Option(help="Draws the same lives again.")] = 42,
    folder: Annotated[Path, typer.Option(help="Where everything of this run is kept.")] = Path(
        ".run"
    ),
    port: Annotated[
        int, typer.Option(help="The gateway's; the others follow. 0: any that are free.")
    ] = play.FIRST_PORT,
    patience: Annotated[
        float, typer.Option(min=1, help="Seconds without movement that are taken for the end.")
    ] = play.STILL_SECONDS,
    fault: Annotated[
        list[str] | None,
        typer.Option(help="JSON for a simulator, with its `program`: make it misbehave."),
    ] = None,
) -> None:
    """All services in this process, dossiers through their lives, and the comparison."""
    faults = [json.loads(text) for text in fault or ()]
    sys.exit(uvloop.run(_run(once, count, seed, folder.absolute(), port, faults, patience)))


async def _run(
    once: bool,
    count: int,
    seed: int,
    folder: Path,
    port: int,
    faults: list[dict[str, object]],
    patience: float,
) -> int:
    console = Console()
    started = time.monotonic()
    play.fresh_folder(folder)
    log = (folder / "services.log").open("w", buffering=1, encoding="utf-8")
    configure_logging("INFO", log)
    async with play.stage(folder) as (postgres, outside):
        await play.set_faults(outside, faults)
        plan = Plan(
            folder=folder,
            databases=await play.databases(postgres),
            ports=play.free_ports(port),
            outside=outside,
            clients=(play.demo_client(), play.operator_client()),
        )
        async with running(plan):
            console.print(
                f"Six services ready after {time.monotonic() - started:.1f} s; "
                f"their log is {folder.name}/services.log"
            )
            client, operator = plan.clients
            system = ClientSystem(plan.url("gateway"), client.client_id, client.secret)
            await play.play(console, system, count, seed)
            await play.arrived(console, outside, system.book, patience)
            desk = ClientSystem(plan.url("gateway"), operator.client_id, operator.secret)
            ask = operators_side(
                desk, plan.url("national-portal-sync"), plan.url("metrics-exporter")
            )
            differences = show(console, await play.held_against(system, outside, ask))
            procedure = (await play.catalogue(system))[-1]
            played = await acts.play(
                system,
                desk,
                plan.url,
                outside.national_portal,
                procedure,
                (client.client_id, client.secret),
            )
            differences += show(console, played, title="And besides")
            console.print(f"Took {time.monotonic() - started:.1f} s in all.")
            if not once:
                _invite(console, plan, next(iter(system.book.sent)))
                await asyncio.Event().wait()
    return 1 if differences else 0


def _invite(console: Console, plan: Plan, code: str) -> None:
    """Addresses, and a command to try."""
    for name in MODULES:
        console.print(f"  {name:22} {plan.url(name)}/openapi.json", highlight=False)
    client, gateway = plan.clients[0], plan.url("gateway")
    console.print("\nTry it (Ctrl-C ends everything):\n")
    command = (
        f"TOKEN=$(curl -s -u '{client.client_id}:{client.secret}' "
        f"-d grant_type=client_credentials {gateway}/oauth/token "
        "| python3 -c 'import json,sys; print(json.load(sys.stdin)[\"access_token\"])')\n"
        f'curl -s -H "Authorization: Bearer $TOKEN" {gateway}/v1/dossiers/{code}\n'
    )
    print(command)


@cli.command("play")
def play_against(
    secrets: Annotated[Path, typer.Option(help="Folder with demo.json.")],
    count: Annotated[int, typer.Option(min=1)] = 300,
    seed: Annotated[int, typer.Option()] = 42,
) -> None:
    """The same job against services that run elsewhere, such as in containers."""
    target = json.loads((secrets / "demo.json").read_text("utf-8"))
    sys.exit(uvloop.run(_play_against(target, count, seed)))


async def _play_against(target: dict[str, Any], count: int, seed: int) -> int:
    console = Console()
    outside = Outside(**target["outside"])
    await play.set_faults(outside, [{"program": "signing-gateway", **play.REFUSES}])
    client = Client(**target["client"])
    system = ClientSystem(target["gateway"], client.client_id, client.secret)
    await play.play(console, system, count, seed)
    await play.arrived(console, outside, system.book)
    operator = Client(**target["operator"])
    desk = ClientSystem(target["gateway"], operator.client_id, operator.secret)
    ask = operators_side(desk, target["portal_sync"], target["exporter"])
    return 1 if show(console, await play.held_against(system, outside, ask)) else 0


@cli.command()
def secrets(
    folder: Annotated[Path, typer.Option()] = Path(".run/compose"),
) -> None:
    """Make the secrets of the containers of docker-compose.yml, unless they are there."""
    print("made" if write_compose(folder) else "already there", folder)


@cli.command()
def settings() -> None:
    """Write .env.example from the services' settings."""
    Path(".env.example").write_text(example(), "utf-8")


@cli.command()
def contracts(
    check: Annotated[bool, typer.Option(help="Only tell what differs.")] = False,
    publish: Annotated[
        bool, typer.Option(help="Clients may rely on the gateway's document from now on.")
    ] = False,
    folder: Annotated[Path, typer.Option()] = Path("contracts"),
) -> None:
    """Write the published language from the code, or check that nothing differs."""
    try:
        if publish:
            print(f"published: {published.publish(folder)}")
        changed = published.drift(folder) if check else published.write(folder)
    except published.BreakingChange as error:
        sys.exit(f"refused, publish a new major beside it instead: {error}")
    for place in changed:
        print(f"{'differs' if check else 'written'}: {folder / place}")
    sys.exit(1 if check and changed else 0)


if __name__ == "__main__":
    cli()
