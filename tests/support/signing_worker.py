"""The connector's workers as processes of their own, which can be told to die at a certain step.

They come from a nursery: for each line of its input,
``{"url": …, "die": ["awaiting-user", "before"], …}``, it makes a copy of itself that works until
somebody ends it, and tells its process id and then its exit status (negative: the signal), a line
each. What a worker needs is loaded once, and so is the fork server that its isolated processes come
from: a new program would take seconds over both.

``before``: the step was taken, and with it whatever it does outside; nothing of it was written.
``after``: it was written, and nothing followed.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing import forkserver
from pathlib import Path
from typing import Any, NoReturn

from pydantic import SecretStr
from sqlalchemy import text

from backbone.leash import die_with
from common.blobs import Blobs
from common.database import Database
from common.outbox import Outbox
from common.settings import DatabaseSettings, TelemetrySettings
from common.telemetry import Telemetry
from signature_connector import isolation
from signature_connector.assembly.isolated import IsolatedAssembler
from signature_connector.domain.requests import Request, Step
from signature_connector.domain.waiting import Patience
from signature_connector.use_cases.book import Book
from signature_connector.use_cases.callbacks import Callbacks
from signature_connector.use_cases.providers import Always
from signature_connector.use_cases.steps import Steps
from signature_connector.use_cases.waiting import Budget
from signature_connector.use_cases.workers import Pools, Workers
from signature_connector.verification.bundle import read_bundle
from signature_connector.verification.isolation import Examiner
from tests.support.later_signers import LaterSigners
from tests.support.signature_connector import KEYS

_WAITING = text(
    "SELECT DISTINCT order_id FROM signing_request "
    "WHERE state IN ('awaiting-user', 'unknown') AND ask_at > now()"
)


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
    database: Database
    callbacks: Callbacks | None

    @property
    def runs(self) -> list[Coroutine[Any, Any, None]]:
        """All that works without end."""
        work = [run() for run in self.workers.runs]
        return work if self.callbacks is None else [*work, self._called(self.callbacks)]

    async def _called(self, callbacks: Callbacks) -> None:
        """The provider calls as soon as a person may have decided."""
        while True:
            async with self.database.reading() as connection:
                waiting = list((await connection.execute(_WAITING)).scalars())
            for order in waiting:
                await callbacks.take(self.provider.name, b'{"order": "%s"}' % str(order).encode())
            await asyncio.sleep(0.2)

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
    callbacks = Callbacks(
        database, steps.choice, most=1000, days=1, per_second=1000, asked=workers.called
    )
    calls_back = callbacks if told.get("calls_back") else None
    return Assembled(workers, provider, examiner, assembler, database, calls_back)


class Nursery:
    """Where processes come from. They end with it, and it ends with the process that started it."""

    def __init__(self, process: "subprocess.Popen[str]", log: Path) -> None:
        self._process = process
        self._log = log

    def begin(self, told: dict[str, Any]) -> int:
        """Start workers; their process id. One process at a time."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(told) + "\n")
        self._process.stdin.flush()
        return self._told()

    def ended(self) -> int:
        """Wait until it has ended; its exit status (negative: the signal)."""
        return self._told()

    def said(self) -> str:
        """What its processes said so far."""
        return self._log.read_text()

    def _told(self) -> int:
        assert self._process.stdout is not None
        return int(self._process.stdout.readline())


@contextmanager
def nursery(log: Path) -> Iterator[Nursery]:
    """A nursery; what its processes say goes to the file."""
    # Not as `-m`: isolated processes load the main module of the one that they are for.
    serve = f"from tests.support import signing_worker; signing_worker.serve({os.getpid()})"
    program = [sys.executable, "-c", serve]
    with (
        log.open("ab") as said,
        subprocess.Popen(
            program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said, text=True
        ) as process,
    ):
        yield Nursery(process, log)
        # Leaving closes its input, and it ends.


async def _work(told: dict[str, Any]) -> None:
    """Work until somebody ends it."""
    database = Database(DatabaseSettings(database_url=SecretStr(told["url"])), name="worker")
    await asyncio.gather(*assembled(told, database).runs)


def _child(told: dict[str, Any], parent: int) -> NoReturn:
    die_with(parent)
    os.dup2(2, 1)  # the parent alone tells on its output
    # It is there, but it is no child of this process, which must not wait for it.
    forkserver._forkserver.ensure_running = lambda: None  # type: ignore[method-assign]
    try:
        asyncio.run(_work(told))
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(1)


def serve(starter: int) -> None:
    """Be a nursery, until the input ends or the process that started it does."""
    die_with(starter)
    forkserver.set_forkserver_preload(isolation._PRELOADED)
    forkserver.ensure_running()
    parent = os.getpid()
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            _child(json.loads(line), parent)
        sys.stdout.write(f"{child}\n")
        sys.stdout.flush()
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()
