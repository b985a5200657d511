"""``python -m backbone log verify EXPORT… --certificates trusted.pem``."""

import re
import sys
from pathlib import Path
from typing import Annotated

import typer

from backbone.log_verification.archive import Refused
from backbone.log_verification.judge import Expected, verify
from backbone.log_verification.receipts import receipt_of
from backbone.log_verification.trust import Trust

REFUSED = 2
"""The exit code where nothing could be judged."""

log = typer.Typer(no_args_is_help=True, help="The message log, seen from outside.")
_EXPECTED = re.compile(r"([0-9]{1,5}):([0-9]{1,18})-([0-9]{1,18})")


@log.callback()
def _group() -> None:
    """The message log, seen from outside."""


@log.command("verify")
def verify_exports(
    exports: Annotated[list[Path], typer.Argument(metavar="EXPORT…", help="Exports, any order.")],
    certificates: Annotated[
        list[Path],
        typer.Option(
            help="PEM: roots of time-stamping authorities; certificates of the log's keys."
        ),
    ],
    keys: Annotated[
        list[Path] | None, typer.Option(help="Public keys of the log (PEM or JWK Set).")
    ] = None,
    receipts: Annotated[
        list[Path] | None,
        typer.Option("--receipt", help="Receipt of a client, whose record has to be there."),
    ] = None,
    expect: Annotated[
        list[str] | None,
        typer.Option(metavar="PARTITION:FIRST-LAST", help="Records that have to be there."),
    ] = None,
) -> None:
    """Say what of the exports is intact, and since when; needs no network and no installation.

    Ends with 0: all intact and anchored; 1: not intact; 2: nothing to judge; 3: intact, but not
    all of it anchored yet.
    """
    try:
        wanted = [_expected(text) for text in expect or ()]
        promised = [receipt_of(path) for path in receipts or ()]
        report = verify(exports, Trust(certificates, keys or ()), wanted, promised)
    except Refused as refusal:
        typer.echo(f"TỪ CHỐI: {refusal.vi} | REFUSED: {refusal.en}")
        sys.exit(REFUSED)
    for line in report.lines():
        typer.echo(line)
    sys.exit(report.exit_code)


def _expected(text: str) -> Expected:
    match = _EXPECTED.fullmatch(text)
    if match is None:
        raise Refused(
            "--expect cần dạng PHÂN_VÙNG:ĐẦU-CUỐI", "--expect is to be PARTITION:FIRST-LAST"
        )
    partition, first, last = map(int, match.groups())
    return Expected(partition, first, last)
