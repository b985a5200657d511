"""Every adapter that sends hashes, against a service of its dialect in a process of its own."""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from threading import Thread
from typing import Any
from uuid import UUID

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256
from pydantic import SecretStr

from common.http import http_client
from common.identifiers import new_id
from signature_connector.domain.provider import (
    Accepted,
    Called,
    Credentials,
    Declined,
    NotKnown,
    Order,
    Paper,
    Pending,
    Reply,
    Signed,
    Unavailable,
    Unclear,
)
from signature_connector.providers.csc import CscAccount
from signature_connector.providers.csc_v1 import CscV1
from signature_connector.providers.csc_v2 import CscV2
from signature_connector.providers.mysign import MySign, MySignAccount
from signature_connector.providers.smartca import SmartCa, SpAccount
from signature_connector.providers.wire import Line
from tests.support.signing_services import (
    SigningService,
    calling_back,
    signing_service,
    signing_services,
)

USER = "001099000001"
SECRET = SecretStr("s3cret")
MAKERS: dict[str, Any] = {
    "smartca": lambda line, **more: SmartCa(line, SpAccount("sp", SECRET), **more),
    "mysign": lambda line, **more: MySign(line, MySignAccount("sp", SECRET, "p", "CMT_"), **more),
    "csc-v1": lambda line, **more: CscV1(line, CscAccount("sp", SECRET), **more),
    "csc-v2": lambda line, **more: CscV2(line, CscAccount("sp", SECRET), **more),
}
POLLED = ("smartca", "mysign")
ASKS = {"smartca": "sign", "mysign": "signHash", "csc-v1": "authorize", "csc-v2": "authorize"}
STATUS = {"smartca": "status", "mysign": "status", "csc-v2": "signPolling"}
_USERS = count(1)


class Inbox(ThreadingHTTPServer):
    """Where callbacks arrive, of all tests of the module."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Taking)
        self.bodies: dict[str, list[bytes]] = {name: [] for name in MAKERS}

    async def until(self, name: str, many: int, wanted: Callable[[bytes], bool]) -> list[bytes]:
        """The callbacks of a provider that are wanted, once there are as many."""
        async with asyncio.timeout(20):
            while len(found := [one for one in list(self.bodies[name]) if wanted(one)]) < many:
                await asyncio.sleep(0.01)
        return found


class _Taking(BaseHTTPRequestHandler):
    server: Inbox

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.bodies[self.path.rpartition("/")[2]].append(body)
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing is logged."""


@pytest.fixture(scope="module")
def inbox() -> Iterator[Inbox]:
    with Inbox() as listening:
        serving = Thread(target=listening.serve_forever, args=(0.05,))
        serving.start()
        yield listening
        listening.shutdown()
        serving.join()


@pytest.fixture(scope="module")
def services(
    tmp_path_factory: pytest.TempPathFactory, inbox: Inbox
) -> Iterator[dict[str, SigningService]]:
    options = ("--person-ms", "30", "--keys", "ecdsa", "--account", "sp:s3cret")
    programs = {name: (*options, *calling_back(inbox.socket, name)) for name in MAKERS}
    with signing_services(tmp_path_factory.mktemp("services"), programs) as running:
        yield running


@pytest.fixture(scope="module")
def rsa_services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, SigningService]]:
    options = ("--person-ms", "0", "--keys", "rsa")
    programs = dict.fromkeys(("csc-v1", "csc-v2"), options)
    with signing_services(tmp_path_factory.mktemp("rsa"), programs) as running:
        yield running


@asynccontextmanager
async def adapter(service: SigningService, name: str, **changed: Any) -> AsyncIterator[Any]:
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(http_client(base_url=service.url, kept=False))
        kept = await stack.enter_async_context(http_client(base_url=service.url))
        times = {"user_seconds": 10.0} if name.startswith("csc") else {}
        yield MAKERS[name](Line(http, kept), **{"call_seconds": 5.0, **times, **changed})


async def ordered(provider: Any, papers: int = 1, **changed: Any) -> Order:
    """An order for a person of its own."""
    user = f"{next(_USERS):012}"
    listed = await provider.credentials(user, "CA")
    assert isinstance(listed, Credentials)
    (credential,) = listed.found
    ids = [new_id() for _ in range(papers)]
    given: dict[str, Any] = {
        "outgoing_id": new_id(),
        "user": user,
        "ca_name": "CA",
        "credential": credential,
        "papers": tuple(Paper(one, "Giấy", digest=_digest(one)) for one in ids),
        "mechanism": "ecdsa",
    }
    return Order(**{**given, **changed})


def _digest(request_id: UUID) -> bytes:
    return hashlib.sha256(request_id.bytes).digest()


async def end_of(provider: Any, order: Order, began: Any) -> Any:
    """The outcome, asked for until there is one."""
    if not isinstance(began, Accepted):
        return began
    async with asyncio.timeout(20):
        while True:
            found = await provider.status(order, began.submission)
            if not isinstance(found, Pending):
                return found
            await asyncio.sleep(0.02)


def valid(order: Order, answer: Any) -> bool:
    """Whether each signature is the person's over that document's digest."""
    assert isinstance(answer, Signed), answer
    key: Any = x509.load_der_x509_certificate(order.credential.certificate).public_key()
    assert answer.results.keys() == {paper.request_id for paper in order.papers}
    try:
        for paper in order.papers:
            raw, digest = answer.results[paper.request_id], paper.digest
            assert isinstance(raw, bytes)
            if order.mechanism == "ecdsa":
                key.verify(raw, digest or b"", ec.ECDSA(Prehashed(SHA256())))
            else:
                pss = padding.PSS(padding.MGF1(SHA256()), 32)
                scheme: Any = pss if order.mechanism == "rsassa_pss" else padding.PKCS1v15()
                key.verify(raw, digest or b"", scheme, Prehashed(SHA256()))
    except InvalidSignature:
        return False
    return True


@pytest.fixture(params=list(MAKERS))
def name(request: pytest.FixtureRequest) -> str:
    chosen: str = request.param
    return chosen


@pytest.fixture
def service(services: dict[str, SigningService], name: str) -> SigningService:
    services[name].reset()
    return services[name]


async def test_several_documents_are_signed_with_one_confirmation(
    service: SigningService, name: str
) -> None:
    async with adapter(service, name) as provider:
        order = await ordered(provider, papers=3)
        answer = await end_of(provider, order, await provider.submit(order))
    assert isinstance(answer, Signed)
    assert valid(order, answer)
    books = service.books()
    assert (books["asked"], books["asked_twice"], books["signed"]) == (3, 0, 3)


@pytest.mark.parametrize(
    ("kind", "outcome"), [("refuse", "rejected-by-user"), ("expire", "expired")]
)
async def test_a_person_who_does_not_sign_is_an_outcome(
    service: SigningService, name: str, kind: str, outcome: str
) -> None:
    service.fault(on=ASKS[name], kind=kind, ms=20)
    async with adapter(service, name) as provider:
        order = await ordered(provider)
        answer = await end_of(provider, order, await provider.submit(order))
    assert isinstance(answer, Declined)
    assert answer.outcome == outcome
    assert service.books()["signed"] == 0


async def test_a_slow_person_is_waited_for(service: SigningService, name: str) -> None:
    service.fault(on=ASKS[name], kind="slow", ms=1500)
    async with adapter(service, name) as provider:
        order = await ordered(provider)
        began = time.monotonic()
        first = await provider.submit(order)
        if name in POLLED:
            assert isinstance(first, Accepted)
            assert isinstance(await provider.status(order, first.submission), Pending)
        answer = await end_of(provider, order, first)
    assert time.monotonic() - began > 1.4
    assert isinstance(answer, Signed)
    assert service.books()["asked_twice"] == 0


@pytest.mark.parametrize("flaw", ["wrong_certificate", "bad_signature"])
async def test_a_wrong_signature_is_handed_on_for_the_verdict_to_see(
    service: SigningService, name: str, flaw: str
) -> None:
    service.fault(on=ASKS[name], kind=flaw)
    async with adapter(service, name) as provider:
        order = await ordered(provider)
        answer = await end_of(provider, order, await provider.submit(order))
    (row,) = service.books("/requests")["items"]
    assert (row["outcome"], row["flaw"]) == ("signed", flaw)
    if isinstance(answer, Signed):  # one whose sequence is broken is no signature at all
        assert not valid(order, answer)
    else:
        assert isinstance(answer, Unclear | Unavailable)


async def test_a_quota_that_is_used_up_asks_nobody(service: SigningService, name: str) -> None:
    service.fault(on=ASKS[name], kind="quota")
    async with adapter(service, name) as provider:
        order = await ordered(provider)
        answer = await provider.submit(order)
    assert isinstance(answer, Declined)
    assert answer.outcome == "failed"
    books = service.books()
    assert (books["asked"], books["by_outcome"]) == (0, {"quota": 1})


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "drop_after"},
        {"kind": "drop_after", "reset": True},
        {"kind": "half_open"},
        {"kind": "status", "code": 503, "work": True},
        {"kind": "garbage"},
        {"kind": "slow_drip", "ms": 200},
    ],
    ids=lambda fault: str(fault["kind"]),
)
async def test_an_answer_that_is_lost_leaves_it_open_and_asks_nobody_twice(
    service: SigningService, name: str, fault: dict[str, Any]
) -> None:
    async with adapter(service, name, call_seconds=1.0) as provider:
        order = await ordered(provider)
        service.fault(on=ASKS[name], times=1, **fault)
        times = {"user_seconds": 1.0} if name.startswith("csc") else {}
        async with adapter(service, name, call_seconds=1.0, **times) as impatient:
            answer = await impatient.submit(order)
        assert isinstance(answer, Unclear)
        if provider.abilities.confirms == "any":  # by our own id it can still be found out
            async with asyncio.timeout(20):
                while not isinstance(found := await provider.status(order, None), Signed):
                    assert isinstance(found, Pending)
                    await asyncio.sleep(0.02)
            assert valid(order, found)
    books = service.books()
    assert (books["asked"], books["asked_twice"]) == (1, 0)


@pytest.mark.parametrize("kind", ["status", "drop_before", "garbage"])
async def test_a_status_call_that_fails_is_asked_again(
    service: SigningService, name: str, kind: str
) -> None:
    if name not in STATUS:
        async with adapter(service, name) as provider:
            assert provider.abilities.confirms == "nothing"
        return
    async with adapter(service, name) as provider:
        order = await ordered(provider)
        first = await provider.submit(order)
        service.fault(on=STATUS[name], kind=kind, times=1)
        assert isinstance(await provider.status(order, first.submission), Unavailable)
        assert isinstance(await end_of(provider, order, first), Signed)
    assert service.books()["asked_twice"] == 0


async def test_a_transaction_that_is_not_known_is_no_clear_no(
    service: SigningService, name: str
) -> None:
    if name not in STATUS:
        return
    async with adapter(service, name) as provider:
        order = await ordered(provider)
        first = await provider.submit(order)
        service.fault(on=STATUS[name], kind="unknown_transaction", times=1)
        answer = await provider.status(order, first.submission)
        assert isinstance(answer, NotKnown)
        assert isinstance(await end_of(provider, order, first), Signed)


@pytest.mark.parametrize("name", ["mysign", "csc-v1", "csc-v2"], indirect=True)
async def test_a_session_that_was_lost_is_renewed_before_anybody_is_asked(
    service: SigningService, name: str
) -> None:
    async with adapter(service, name) as provider:
        order = await ordered(provider)
        service.fault(on=ASKS[name], kind="session_lost", times=1)
        answer = await end_of(provider, order, await provider.submit(order))
    assert isinstance(answer, Signed)
    assert service.books()["asked"] == 1


@pytest.mark.parametrize("name", POLLED, indirect=True)
@pytest.mark.parametrize(
    ("fault", "many"),
    [
        (None, 1),
        ({"kind": "replay_callback", "count": 2}, 3),
        ({"kind": "late_callback", "ms": 300}, 1),
        ({"kind": "early_callback"}, 2),
    ],
    ids=["once", "replayed", "late", "early"],
)
async def test_a_callback_only_leads_to_a_question(
    service: SigningService, name: str, inbox: Inbox, fault: Any, many: int
) -> None:
    async with adapter(service, name) as provider:
        order = await ordered(provider)
        if fault:
            service.fault(on=ASKS[name], **fault)
        first = await provider.submit(order)
        ours = Called(outgoing_id=order.outgoing_id)
        expected = ours if name == "smartca" else Called(first.submission)
        for _ in await inbox.until(name, many, lambda body: provider.called(body) == expected):
            answer = await provider.status(order, first.submission)
            assert isinstance(answer, Signed | Pending)
        assert isinstance(await end_of(provider, order, first), Signed)
    assert service.books()["asked_twice"] == 0


@pytest.mark.parametrize("mechanism", ["rsassa_pss", "rsassa_pkcs1v15"])
@pytest.mark.parametrize("name", ["csc-v1", "csc-v2"], indirect=True)
async def test_the_mechanism_asked_for_is_the_one_that_signs(
    rsa_services: dict[str, SigningService], name: str, mechanism: Any
) -> None:
    async with adapter(rsa_services[name], name) as provider:
        order = await ordered(provider, mechanism=mechanism)
        answer = await end_of(provider, order, await provider.submit(order))
    assert valid(order, answer)
    other: Any = {"rsassa_pss": "rsassa_pkcs1v15", "rsassa_pkcs1v15": "rsassa_pss"}[mechanism]
    assert not valid(replace(order, mechanism=other), answer)


async def test_a_restarted_service_still_knows_whom_it_asked(tmp_path: Path) -> None:
    options = ("--person-ms", "200", "--keys", "ecdsa")
    with signing_service(tmp_path, "smartca", *options) as service:
        async with adapter(service, "smartca") as provider:
            order = await ordered(provider)
            assert isinstance(await provider.submit(order), Accepted)
    with signing_service(tmp_path, "smartca", *options) as service:
        async with adapter(service, "smartca") as provider:
            first = Accepted(str(order.outgoing_id), Reply())
            answer = await end_of(provider, order, first)
        assert valid(order, answer)
        assert service.books()["asked"] == 1
