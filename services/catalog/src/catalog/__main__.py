"""``python -m catalog serve | migrate | import FILE``."""

import argparse
from pathlib import Path

from catalog.main import create_app
from catalog.settings import Settings
from catalog.use_cases.importing import import_lines, lines_of_file
from common.command import CommandFailed, Subcommand, run
from common.database import Database, migrate
from common.outbox import Outbox


async def import_file(_: Settings, database: Database, arguments: argparse.Namespace) -> None:
    """Take the records of a file; the running service tells the others what changed."""
    file: Path = arguments.file
    await migrate(database, "catalog")
    try:
        done = await import_lines(Outbox(database, "catalog"), "file", lines_of_file(file))
    except (OSError, ValueError) as error:
        raise CommandFailed(f"{file}: {error}") from error
    counts = f"read {done.read}, changed {done.changed}, unchanged {done.unchanged}"
    print(f"import {done.id}: {counts}, faults {done.faults}")
    if done.faults:
        raise CommandFailed(f"{done.faults} records were left out; see GET /v1/imports/{done.id}")


IMPORT = Subcommand[Settings](
    "import",
    "take procedures, agencies and code lists from a file",
    import_file,
    lambda parser: parser.add_argument(
        "file", type=Path, help="NDJSON, or one JSON list where the name ends in .json"
    ),
)

if __name__ == "__main__":
    run("catalog", Settings, create_app, IMPORT)
