"""Facts about dossiers, and the national portal's synchronisation at work against its simulator."""

import asyncio
import base64
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import uvicorn
from pydantic import SecretStr
from sqlalchemy import text

from common.contracts.base import Event
from common.contracts.catalog import Field
from common.contracts.commands import Official, ProcedureSummary
from common.contracts.dossier import (
    DossierCompleted,
    DossierFact,
    DossierProgressed,
    DossierReceived,
    DossierState,
    DossierSubmitted,
    StepTaken,
)
from common.database import Database, migrate
from common.delivery import Deliverer
from common.envelope import Draft, encode
from common.http import http_client
from common.identifiers import new_id
from common.inbox import Consumer
from common.outbox import Outbox
from common.sealing import KeyRing
from common.settings import DatabaseSettings, TelemetrySettings
from common.telemetry import Telemetry
from national_portal_sync.clients.accounts import AccountFiles
from national_portal_sync.clients.portal import Account
from national_portal_sync.clients.portals import Portals
from national_portal_sync.consumers import subscriptions
from national_portal_sync.domain.keys import STEP
from national_portal_sync.use_cases.synchronisation import Synchronisation
from simulators.national_portal import NationalPortal as Simulator

SEALING_KEYS = {"k1": SecretStr(base64.b64encode(b"0" * 32).decode())}
KEYS = KeyRing(SEALING_KEYS, "k1")
OFFICIAL = Official(name="Trần Thị Bình", title="Chuyên viên", department="Phòng Một cửa")
APPLICANT = {
    "name": "Nguyễn Văn Kín",
    "identity": {"type": "citizen-id", "number": "010099000123"},
    "portal_account": "tk-kin-01",
    "email": "kin@example.vn",
    "phone": "0900000001",
    "address": "Thôn Kín, xã Một",
}
PERSONAL = ("Nguyễn Văn Kín", "010099000123", "tk-kin-01", "kin@example.vn", "0900000001", "Kín")
START = datetime(2026, 11, 2, 1, 15, tzinfo=UTC)
LIFE: Sequence[tuple[type[DossierFact], str]] = (
    (DossierSubmitted, "1"),
    (DossierReceived, "2"),
    (DossierProgressed, "4"),
    (DossierProgressed, "4"),
    (DossierCompleted, "9"),
)


def code_of(number: int, agency: str = "H10.15") -> str:
    """The code of a dossier of an agency."""
    return f"{agency}-261102-{number:04}"


def state(code: str, status: str, **changed: Any) -> DossierState:
    """A dossier in a status."""
    received = START + timedelta(hours=2) if status not in {"1", "3"} else None
    values: dict[str, Any] = {
        "code": code,
        "agency": code.split("-", 1)[0],
        "procedure": ProcedureSummary(
            code="1.004227", name="Đăng ký biến động", field=Field(code=None, name="Đất đai")
        ),
        "channel": "2",
        "applicant_kind": "1",
        "sealed": KEYS.seal(APPLICANT, code),
        "summary": "Đăng ký biến động thửa đất số 12",
        "status": status,
        "submitted_at": START,
        "received_at": received,
        **changed,
    }
    return DossierState(**values)


def fact(
    code: str,
    number: int,
    kind: type[DossierFact],
    status: str,
    *,
    official: Official | None = OFFICIAL,
    **changed: Any,
) -> DossierFact:
    """The fact that is the dossier's ``number``-th step."""
    step = StepTaken(
        number=number,
        kind=kind.TYPE.split(".")[1],
        status=status,
        at=START + timedelta(minutes=number),
        official=official,
        note=f"bước {number}",
    )
    return kind(dossier=state(code, status, **changed), step=step)


def envelope(event: Event, code: str, sequence: int, *, epoch: int = 1) -> bytes:
    """An event as it comes from the broker."""
    draft = Draft(
        id=new_id(),
        event=event,
        aggregate=code,
        agency=code.split("-", 1)[0],
        subject=code,
        traceparent=None,
        correlation="c",
        causation=None,
    )
    return encode(draft, producer="dossier", epoch=epoch, sequence=sequence)


def life(code: str, first: int = 1, last: int = len(LIFE), **changed: Any) -> list[bytes]:
    """Facts of a dossier's life, from one to another (1 is the submission)."""
    return [
        envelope(fact(code, number, *LIFE[number - 1], **changed), code, number)
        for number in range(first, last + 1)
    ]


def account_at(url: str, **changed: Any) -> Account:
    """The default account of a portal."""
    values: dict[str, Any] = {
        "login_url": f"{url}/login",
        "call_url": f"{url}/",
        "username": "tinh",
        "password": SecretStr("mat-khau"),
        "unit": "H10",
        "dstcode": "G22",
        **changed,
    }
    return Account(**values)


def overheard(portal: Simulator) -> list[tuple[str, str, list[str]]]:
    """Unit, service and dossier codes of every call about dossiers from now on, in order."""
    calls: list[tuple[str, str, list[str]]] = []
    service_of = portal.service_of

    def seen(path: str, payload: Any) -> str | None:
        if codes := portal.facts(payload).get("MaHoSo"):
            calls.append((payload["madonvi"], payload["service"], codes))
        return service_of(path, payload)

    portal.service_of = seen  # type: ignore[method-assign]
    return calls


@asynccontextmanager
async def serving(app: Any) -> AsyncIterator[str]:
    """An ASGI program on a free port of this machine, on real sockets; its address."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        app, lifespan="off", log_config=None, timeout_keep_alive=75, timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started:
        await asyncio.sleep(0.005)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await task
        listener.close()


async def prepared(url: str) -> None:
    """Run the service's migrations (for ``Databases.template``)."""
    database = Database(DatabaseSettings(database_url=SecretStr(url)), name="test")
    await migrate(database, "national_portal_sync")
    await database.close()


@dataclass
class Rig:
    """The service's consumer and deliverer, and the simulator that they talk to."""

    database: Database
    portal: Simulator
    url: str
    http: httpx.AsyncClient
    batch: int = 100
    parallel: int = 4
    seconds: float = 60.0
    steps: int | None = None
    """Of a call; as many as dossiers unless told otherwise."""
    files: AccountFiles | None = None
    telemetry: Telemetry = field(default_factory=lambda: Telemetry("test", TelemetrySettings()))

    def __post_init__(self) -> None:
        self.wakes = 0
        self.consumer = Consumer(
            "national-portal-sync",
            subscriptions(self._wake)[0],
            Outbox(self.database, "national-portal-sync"),
            self.telemetry,
        )
        self.deliverer = self.another()

    def another(self) -> Deliverer:
        """A deliverer of its own, as a further replica has."""
        default = account_at(self.url, parallel=self.parallel)
        portals = self.portals = Portals(
            self.http,
            self.files or AccountFiles(None, None, default, default),
            seconds=self.seconds,
        )
        self.breaker = portals.breaker
        synchronisation = Synchronisation(
            portals,
            KEYS,
            batch=self.batch,
            parallel=self.parallel,
        )
        return Deliverer(
            self.database,
            synchronisation,
            self.telemetry,
            self.breaker,
            prepare=synchronisation.prepare,
            lines=portals.line,
            sizes={STEP: self.steps} if self.steps else None,
        )

    def _wake(self) -> None:
        self.wakes += 1

    async def take(self, *bodies: bytes) -> None:
        """Hand events to the consumer, as the broker does."""
        await self.consumer.take(bodies)

    async def drain(self, *, rounds: int = 60) -> None:
        """Deliver until nothing is left that can go, waiting for what is put off for a while."""
        for _ in range(rounds):
            await self.deliverer.once()
            left = await self.rows("SELECT min(next_at) AS at FROM delivery WHERE state <> 'held'")
            if left[0].at is None:
                return
            wait = max((left[0].at - datetime.now(UTC)).total_seconds(), self.breaker.wait())
            await asyncio.sleep(min(max(wait, 0), 1.0))
        raise AssertionError(await self.rows("SELECT kind, key, state, error FROM delivery"))

    async def drain_all_but(self, code: str, *, rounds: int = 30) -> None:
        """Deliver until nothing is left but what stands behind a held item of this dossier."""
        for _ in range(rounds):
            await self.deliverer.once()
            left = await self.rows("SELECT 1 FROM delivery WHERE subject <> :code", code=code)
            held = await self.rows("SELECT 1 FROM delivery WHERE state = 'held'")
            if held and not left:
                return
        raise AssertionError(await self.rows("SELECT kind, key, state, error FROM delivery"))

    async def rows(self, statement: str, **values: Any) -> Sequence[Any]:
        """What a statement yields."""
        async with self.database.transaction() as connection:
            found = await connection.execute(text(statement), values)
            return found.all() if found.returns_rows else []

    def fault(self, on: str, kind: str, **parameters: Any) -> None:
        """Let the simulator misbehave."""
        self.portal.faults.post([{"on": on, "kind": kind, **parameters}])

    async def books(self, code: str) -> dict[str, Any] | None:
        """What the simulator has of a dossier."""
        answer = await self.http.get(f"{self.url}/_books/dossiers/{code}")
        return None if answer.status_code == 404 else dict(answer.json())

    async def calls(self, service: str) -> list[tuple[str, int]]:
        """The calls of a service that the simulator saw: outcome and number of items."""
        answer = await self.http.get(f"{self.url}/_books/calls?limit=5000")
        return [
            (call["outcome"], call["items"])
            for call in answer.json()["items"]
            if call["service"] == service
        ]


@asynccontextmanager
async def rig(database_url: str, **parameters: Any) -> AsyncIterator[Rig]:
    """A rig on a database that the service's migrations were run on."""
    database = Database(DatabaseSettings(database_url=SecretStr(database_url)), name="test")
    portal = Simulator()
    async with serving(portal) as url, http_client(timeout=5) as http:
        yield Rig(database, portal, url, http, **parameters)
    await database.close()
