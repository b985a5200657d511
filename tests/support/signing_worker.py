"""The connector's workers as a process of its own, which can be told to die at a certain step.

    python -m tests.support.signing_worker '{"url": …, "die": ["awaiting-user", "before"], …}'

``before``: the step was taken, and with it whatever it does outside; nothing of it was written.
``after``: it was written, and nothing followed.
"""

import asyncio
import json
import os
import signal
import sys
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from common.blobs import Blobs
from common.database import Database
from common.outbox import Outbox
from common.settings import DatabaseSettings, TelemetrySettings
from common.telemetry import Telemetry
from signature_connector.assembly.isolated import IsolatedAssembler
from signature_connector.domain.requests import Request, Step
from signature_connector.domain.waiting import Patience
from signature_connector.use_cases.book import Book
from signature_connector.use_cases.providers import Always
from signature_connector.use_cases.steps import Steps
from signature_connector.use_cases.waiting import Budget
from signature_connector.use_cases.workers import Pools, Workers
from signature_connector.verification.bundle import read_bundle
from signature_connector.verification.isolation import Examiner
from tests.support.later_signers import LaterSigners
from tests.support.signature_connector import KEYS


class Mortal(Book):
    """Writes steps, and dies at one of them."""

    die: tuple[str, str] | None = None

    async def move(self, worker: Any, request: Request, step: Step) -> Request | None:
        here = self.die is not None and step.to == self.die[0]
        if here and self.die is not None and self.die[1] == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        after = await super().move(worker, request, step)
        if here:
            os.kill(os.getpid(), signal.SIGKILL)
        return after


@dataclass
class Assembled:
    """Workers, and what has to be closed after them."""

    workers: Workers
    provider: LaterSigners
    examiner: Examiner
    assembler: IsolatedAssembler

    async def close(self) -> None:
        await self.provider.close()
        await self.examiner.close()
        await self.assembler.close()


def assembled(told: dict[str, Any], database: Database) -> Assembled:
    """The workers, as ``main`` puts them together, for the double of a provider."""
    examiner = Examiner(read_bundle(Path(told["roots"])), processes=1, seconds=20, memory=1 << 30)
    patience = Patience(
        timedelta(seconds=told.get("person", 30)), timedelta(seconds=told.get("news", 20))
    )
    signs = told.get("signs", "files")
    provider = LaterSigners(told["provider"], confirms=told.get("confirms", "any"), signs=signs)
    assembler = IsolatedAssembler(processes=1, seconds=20, memory=1 << 30, limit=20 << 20)
    steps = Steps(
        Always((provider,)),
        Blobs(told["blobs"]),
        examiner,
        KEYS,
        file_limit=10 << 20,
        patience=timedelta(hours=1),
        waiting=patience,
        assembler=assembler,
    )
    book = Mortal(database, Outbox(database, "signature-connector"), patience.news)
    book.die = tuple(told["die"]) if told.get("die") else None
    calls = told.get("status_calls", Budget().total)
    pools = Pools(4, 4, told.get("lease", 1.5), 0.5, Budget(calls, calls))
    workers = Workers(book, steps, Telemetry("worker", TelemetrySettings()), pools)
    return Assembled(workers, provider, examiner, assembler)


async def main(told: dict[str, Any]) -> None:
    """Work until somebody ends it."""
    database = Database(DatabaseSettings(database_url=SecretStr(told["url"])), name="worker")
    await asyncio.gather(*(run() for run in assembled(told, database).workers.runs))


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
