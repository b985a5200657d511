"""An order, and adapters before a provider that answers as a test says."""

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
from pydantic import SecretStr

from signature_connector.domain.provider import Credential, Order, Paper
from signature_connector.providers.csc import CscAccount
from signature_connector.providers.csc_v1 import CscV1
from signature_connector.providers.csc_v2 import CscV2
from signature_connector.providers.mysign import MySign, MySignAccount
from signature_connector.providers.smartca import SmartCa, SpAccount
from signature_connector.providers.wire import Line

GOLDEN = Path(__file__).parents[1] / "unit" / "golden"
USER = "001099000001"
FIRST = UUID("0190d0f0-0000-7000-8000-000000000001")
SECOND = UUID("0190d0f0-0000-7000-8000-000000000002")
OUTGOING = UUID("0190d0f0-0000-7000-8000-00000000000a")
SECRETS = {"smartca": "s3cret-of-sp", "mysign": "s3cret-of-client", "csc": "s3cret-of-client"}

Make = Callable[[Line], Any]
Answers = Mapping[str, Any] | Callable[[httpx.Request], httpx.Response]


def order(**changed: Any) -> Order:
    """Two documents for one confirmation."""
    given: dict[str, Any] = {
        "outgoing_id": OUTGOING,
        "user": USER,
        "ca_name": "VNPT-CA",
        "credential": Credential(b"\x30\x82\x01\x93", "27893aaebf7ec609", "T5f2c8a"),
        "papers": (
            Paper(FIRST, "Giấy chứng nhận", digest=bytes(range(32))),
            Paper(SECOND, "Quyết định.xml", digest=bytes(range(1, 33))),
        ),
        "mechanism": "rsassa_pkcs1v15",
    }
    return Order(**{**given, **changed})


def golden(dialect: str, name: str) -> Any:
    """A golden file."""
    return json.loads((GOLDEN / dialect / f"{name}.json").read_text("utf-8"))


def smartca(line: Line, **changed: Any) -> SmartCa:
    account = SpAccount("4184-1.apps", SecretStr(SECRETS["smartca"]))
    return SmartCa(line, account, **{"call_seconds": 1.0, **changed})


def mysign(line: Line, **changed: Any) -> MySign:
    account = MySignAccount(
        "lien-thong",
        SecretStr(SECRETS["mysign"]),
        "adss:ras:profile:001",
        citizen_prefix="CMT_",
        tax_prefix="MST_",
    )
    return MySign(line, account, **{"call_seconds": 1.0, **changed})


def _csc(**changed: Any) -> CscAccount:
    return CscAccount("lien-thong", SecretStr(SECRETS["csc"]), **changed)


def csc_v1(line: Line, *, login: Any = "client_credentials", **changed: Any) -> CscV1:
    times = {"call_seconds": 1.0, "user_seconds": 1.0}
    return CscV1(line, _csc(login=login), **{**times, **changed})


def csc_v2(line: Line, **changed: Any) -> CscV2:
    times = {"call_seconds": 1.0, "user_seconds": 5.0}
    return CscV2(line, _csc(), **{**times, **changed})


class Provider:
    """What a provider was asked, and its answers by the end of the path, the first that fits: JSON,
    bytes, a response, an error, or several of them, one after the other."""

    def __init__(self, answers: Mapping[str, Any]) -> None:
        self.answers = dict(answers)
        self.asked: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        for end, answer in self.answers.items():
            if request.url.path.endswith(end):
                chosen = answer
                if isinstance(answer, Turns):
                    chosen = answer.pop(0) if len(answer) > 1 else answer[0]
                return _response(chosen)
        return httpx.Response(404, json={"message": f"no {request.url.path}"})

    def bodies(self, end: str) -> list[Any]:
        """What was sent to a path."""
        return [json.loads(one.content) for one in self.calls(end)]

    def calls(self, end: str) -> list[httpx.Request]:
        """The calls of a path."""
        return [one for one in self.asked if one.url.path.endswith(end)]


class Turns(list[Any]):
    """Answers one after the other; the last one stays."""


def _response(answer: Any) -> httpx.Response:
    if isinstance(answer, httpx.Response):
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)
    if isinstance(answer, Exception):
        raise answer
    if isinstance(answer, bytes):
        return httpx.Response(200, content=answer)
    return httpx.Response(200, json=answer)


@asynccontextmanager
async def before(make: Make, provider: Provider) -> AsyncIterator[Any]:
    """The adapter before that provider."""
    transport = httpx.MockTransport(provider)
    async with httpx.AsyncClient(transport=transport, base_url="http://provider/base") as http:
        yield make(Line(http))
