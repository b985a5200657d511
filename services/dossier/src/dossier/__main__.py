"""``python -m dossier serve | migrate | begin-epoch | import FILE``."""

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID, uuid5

from common.blind import BlindIndex
from common.command import CommandFailed, Subcommand, run
from common.database import Database
from common.errors import Problem
from common.outbox import Outbox
from common.sealing import KeyRing, SealError
from dossier.main import create_app
from dossier.settings import Settings
from dossier.store.imports import Format
from dossier.use_cases.importing import Importing, Order
from dossier.use_cases.indexing import Indexing

_CLIENT = "command-line"
_IDS = UUID("a7f7b7ce-9a0a-5a0e-8a50-6c5ce86c3c1d")
_PART_BYTES = 256 * 1024
_FORMATS: dict[str, Format] = {".ndjson": "ndjson", ".jsonl": "ndjson", ".csv": "csv"}


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, help="NDJSON (.ndjson, .jsonl) or CSV (.csv), UTF-8")
    parser.add_argument("--id", type=UUID, help="of the import; by the file's name unless given")
    parser.add_argument(
        "--tell-portal", action="store_true", help="the national portal is to hear of them"
    )
    parser.add_argument("--measure", action="store_true", help="they count in measurements")


async def _import(settings: Settings, database: Database, arguments: argparse.Namespace) -> None:
    """Old dossiers from a file of this machine, for every agency."""
    path: Path = arguments.file
    form = _FORMATS.get(path.suffix.lower())
    if form is None or not await asyncio.to_thread(path.is_file):
        raise CommandFailed(f"{path} is no file that ends in .ndjson, .jsonl or .csv")
    keys = KeyRing(settings.sealing_keys, settings.sealing_key)
    indexing = Indexing(keys, BlindIndex(settings.index_keys, settings.index_key))
    importing = Importing(Outbox(database, "dossier"), database, keys, indexing)
    order = Order(
        id=arguments.id or uuid5(_IDS, path.name),
        client_id=_CLIENT,
        may_enter=lambda agency, procedure: True,
        format=form,
        tell_portal=arguments.tell_portal,
        measure=arguments.measure,
    )
    try:
        ended = await importing.run(order, _parts(path))
    except (Problem, SealError) as error:
        raise CommandFailed(f"import {order.id}: {error}") from error
    sys.stdout.write(
        f"import {ended.id}: {ended.lines} lines, {ended.entered} entered, {ended.known} known, "
        f"{ended.different} different, {ended.refused} refused\n"
    )
    if ended.different or ended.refused:
        raise CommandFailed(
            f"not every line was entered; the reasons are at /v1/imports/{ended.id}/faults"
        )


async def _parts(path: Path) -> AsyncIterator[bytes]:
    with await asyncio.to_thread(path.open, "rb") as file:
        while part := await asyncio.to_thread(file.read, _PART_BYTES):
            yield part


IMPORT = Subcommand(
    "import",
    "enter old dossiers from a file; run again, it goes on where it stopped",
    _import,
    _arguments,
)

if __name__ == "__main__":
    run("dossier", Settings, create_app, IMPORT)
