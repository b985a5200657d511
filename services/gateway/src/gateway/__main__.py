"""``python -m gateway serve | migrate | begin-epoch | clients … | export-log …``."""

import argparse
import asyncio
import sys
from datetime import date
from pathlib import Path
from uuid import UUID

from common.command import CommandFailed, Subcommand, run
from common.database import Database
from common.telemetry import configure_logging
from gateway.domain.log_choice import (
    Choice,
    Days,
    NotInTheLog,
    Numbers,
    Selection,
    TooManyChosen,
    moment_of,
)
from gateway.main import create_app, log_export
from gateway.settings import Settings
from gateway.use_cases import client_desk


async def _export_log(settings: Settings, database: Database, asked: argparse.Namespace) -> None:
    """Write an export; the file appears when it is whole."""
    draft = asked.out.with_name(asked.out.name + ".part")
    try:
        with draft.open("xb") as opened:
            async for part in log_export(settings, database).of(_selection(asked)):
                await asyncio.to_thread(opened.write, part)
        draft.replace(asked.out)
    except FileExistsError:
        raise CommandFailed(f"{draft} is in the way") from None
    except (NotInTheLog, TooManyChosen) as error:
        draft.unlink()
        raise CommandFailed(f"nothing is exported: {error}") from error
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    print(asked.out)


def _selection(asked: argparse.Namespace) -> Selection:
    singles = (asked.dossier, asked.submission, asked.client, asked.subject)
    numbers = (asked.partition, asked.first, asked.last)
    if asked.day and not any((*singles, *numbers)):
        return Days(asked.day, asked.last_day or asked.day)
    if None not in numbers and not any((*singles, asked.day)):
        return Numbers(*numbers)
    if any(singles) and not asked.day and not any(numbers):
        return Choice(
            subject=asked.subject,
            submission=asked.submission,
            dossier=asked.dossier,
            client_id=asked.client,
            since=asked.since,
            until=asked.until,
        )
    raise CommandFailed("name a day, or partition, first and last, or single exchanges")


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, required=True, help="the zip to write")
    parser.add_argument("--day", type=date.fromisoformat, help="sealed on this day (Vietnam)")
    parser.add_argument("--last-day", type=date.fromisoformat, help="and until this one")
    for name in ("--partition", "--first", "--last"):
        parser.add_argument(name, type=int, help="records with these numbers")
    parser.add_argument("--dossier", help="single exchanges about this dossier code")
    parser.add_argument("--submission", type=UUID)
    parser.add_argument("--client", help="single exchanges of this client")
    parser.add_argument("--subject")
    for name in ("--since", "--until"):
        parser.add_argument(name, type=moment_of, help="RFC 3339, with single exchanges")


def _client_arguments(parser: argparse.ArgumentParser) -> None:
    choices = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    choices.add_parser("list", help="all clients and their state")
    one = {
        "add-secret": "make a second secret; it is shown this once",
        "end-secret": "end one of the secrets",
        "disable": "switch the client off and make its tokens void",
        "enable": "switch it on again",
        "revoke": "make its tokens void; it may get new ones",
    }
    for name, summary in one.items():
        action = choices.add_parser(name, help=summary)
        action.add_argument("client", help="its id")
        if name == "end-secret":
            action.add_argument("which", choices=("older", "newer"))
        if name == "revoke":
            action.add_argument("--jti", help="of one token; all of the client's unless given")


async def _clients(settings: Settings, database: Database, asked: argparse.Namespace) -> None:
    """One change of one client, or the list of them."""
    configure_logging(settings.log_level, sys.stderr)  # standard output is for the answer
    try:
        match asked.action:
            case "list":
                for client in await client_desk.listed(database):
                    print(client_desk.told(client))
            case "add-secret":
                print(await client_desk.add_secret(database, asked.client))
            case "end-secret":
                await client_desk.end_secret(database, asked.client, asked.which)
            case "disable":
                await client_desk.disable(database, asked.client)
            case "enable":
                await client_desk.enable(database, asked.client)
            case "revoke":
                await client_desk.revoke(database, asked.client, asked.jti)
    except client_desk.ClientRefused as error:
        raise CommandFailed(str(error)) from error


CLIENTS = Subcommand[Settings](
    "clients", "secrets and tokens of client systems", _clients, _client_arguments
)

if __name__ == "__main__":
    run(
        "gateway",
        Settings,
        create_app,
        CLIENTS,
        Subcommand(
            "export-log",
            "write an export of the message log, to be checked offline",
            _export_log,
            _arguments,
        ),
    )
