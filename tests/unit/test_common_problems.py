"""What every service answers: problems in two languages, limits, ids, counts without end."""

import logging
import traceback
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import httpx
import orjson
import pytest
from fastapi import Body, FastAPI, Request
from fastapi.responses import StreamingResponse
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode
from pydantic import BaseModel, ConfigDict, Field
from structlog.testing import capture_logs

from common import problems
from common.contracts.commands import Command
from common.database import DatabaseAway
from common.errors import TYPE_BASE, NotReady, Problem
from common.middleware import RequestLimits, Requests
from common.settings import TelemetrySettings
from common.telemetry import Telemetry

SECRET = "012345678901"


class Form(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(max_length=5)]
    number: int = Field(default=1, ge=1)
    at: datetime | None = None
    id: UUID | None = None
    command: Command | None = None


class Service:
    """An application of a few routes behind the middleware."""

    def __init__(self) -> None:
        self.spans = InMemorySpanExporter()
        self.telemetry = Telemetry(
            "thing", TelemetrySettings(trace_share=1.0), SimpleSpanProcessor(self.spans)
        )
        app = FastAPI()

        @app.post("/forms/{code}")
        async def form(code: str, form: Form) -> dict[str, str]:
            return {"code": code}

        @app.put("/files")
        async def files(request: Request) -> dict[str, int]:
            return {"size": len(await request.body())}

        @app.put("/large/files")
        async def large(content: Annotated[bytes, Body()]) -> dict[str, int]:
            return {"size": len(content)}

        @app.get("/fails")
        async def fails() -> None:
            raise ValueError(SECRET)

        @app.get("/away")
        async def away() -> None:
            raise DatabaseAway("OSError")

        @app.get("/breaks")
        async def breaks() -> StreamingResponse:
            async def lines() -> AsyncIterator[bytes]:
                yield b"one"
                raise ValueError(SECRET)

            return StreamingResponse(lines())

        @app.get("/refuses")
        async def refuses() -> None:
            raise NotReady("Đợi", "Wait", headers={"Retry-After": "7"})

        problems.install(app)
        limits = RequestLimits(
            body=1000, seconds=10, least_rate=1, grace=10, at_once=100, bodies={"/large": 5000}
        )
        app.add_middleware(Requests, telemetry=self.telemetry, limits=limits)
        transport = httpx.ASGITransport(app, raise_app_exceptions=True)
        self.http = httpx.AsyncClient(transport=transport, base_url="http://thing")

    async def form(self, content: bytes | dict[str, Any], **headers: str) -> httpx.Response:
        body = content if isinstance(content, bytes) else orjson.dumps(content)
        return await self.http.post(
            "/forms/H01", content=body, headers={"content-type": "application/json"} | headers
        )


@pytest.fixture
def service() -> Service:
    return Service()


def every_problem(kind: type[Problem] = Problem) -> Iterator[type[Problem]]:
    yield kind
    for below in kind.__subclasses__():
        if below.__module__ == "common.errors":
            yield from every_problem(below)


@pytest.mark.parametrize("kind", [*every_problem()])
def test_every_problem_has_a_status_a_type_and_titles_in_both_languages(
    kind: type[Problem],
) -> None:
    made = kind("Chi tiết", "Detail", errors=[{"pointer": "/a"}], headers={"X": "y"})
    assert made.body() == {
        "type": TYPE_BASE + kind.slug,
        "title": kind.title,
        "title_en": kind.title_en,
        "status": kind.status,
        "detail": "Chi tiết",
        "detail_en": "Detail",
        "errors": [{"pointer": "/a"}],
    }
    assert 400 <= kind.status < 600
    assert kind.title != kind.title_en
    assert kind().body().keys() == {"type", "title", "title_en", "status"}


def test_no_two_problems_share_a_type() -> None:
    slugs = [kind.slug for kind in every_problem()]
    assert len(slugs) == len(set(slugs)) >= 10


async def problem_of(answer: httpx.Response) -> dict[str, Any]:
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["status"] == answer.status_code
    assert body["instance"] == f"urn:lienthong:request:{answer.headers['x-request-id']}"
    assert isinstance(body, dict)
    return body


async def test_invalid_fields_are_named_in_both_languages_without_their_values(
    service: Service,
) -> None:
    answer = await service.form(
        {
            "name": SECRET,
            "number": SECRET + "x",
            "at": SECRET + "x",
            "id": SECRET,
            "command": {"kind": SECRET},
            "ext/ra~": SECRET,
        }
    )
    assert answer.status_code == 422
    body = await problem_of(answer)
    assert body["type"] == TYPE_BASE + "invalid-content"
    told = {error["pointer"]: error for error in body["errors"]}
    assert told.keys() == {"/name", "/number", "/at", "/id", "/command", "/ext~1ra~0"}
    assert told["/name"]["detail"] == "quá dài"
    assert told["/command"]["detail"] == "loại không được biết"
    for error in told.values():
        assert error["detail"] != error["detail_en"]
    assert SECRET not in answer.text
    assert SECRET[:8] not in answer.text


@pytest.mark.parametrize("content", [b"{", b"\xff", b'{"name": ', b"[" * 10_0])
async def test_what_is_no_json_is_a_problem(service: Service, content: bytes) -> None:
    answer = await service.form(content)
    assert answer.status_code in (400, 422)
    await problem_of(answer)


async def test_errors_of_the_framework_are_problems_too(service: Service) -> None:
    answer = await service.http.get("/nowhere")
    assert (await problem_of(answer))["type"] == TYPE_BASE + "not-found"
    answer = await service.http.get("/files")
    assert answer.status_code == 405
    assert (await problem_of(answer))["type"] == TYPE_BASE + "http-405"
    assert answer.headers["allow"] == "PUT"
    answer = await service.http.get("/refuses")
    assert answer.headers["retry-after"] == "7"
    assert (await problem_of(answer))["detail_en"] == "Wait"


async def test_an_unforeseen_error_is_a_problem_and_its_message_goes_nowhere(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    with capture_logs() as logs, caplog.at_level(logging.DEBUG):
        answer = await service.http.get("/fails", headers={"x-request-id": "r-1"})
    assert answer.status_code == 500
    assert (await problem_of(answer))["type"] == TYPE_BASE + "internal-error"
    (line,) = logs
    assert line["request_id"] == "r-1"
    assert line["error"].startswith("ValueError at tests.unit.test_common_problems.Service.")
    assert line["frames"]
    (span,) = service.spans.get_finished_spans()
    assert span.status.status_code is StatusCode.ERROR
    everything = f"{logs}{answer.text}{caplog.text}{span.to_json()}"
    assert SECRET not in everything


async def test_an_answer_that_breaks_off_tells_nothing_either(service: Service) -> None:
    with capture_logs() as logs, pytest.raises(Exception) as raised:  # noqa: PT011
        await service.http.get("/breaks")
    assert SECRET not in "".join(traceback.format_exception(raised.value)) + str(logs)
    assert len(logs) == 1


async def test_while_the_database_is_away_clients_are_asked_to_come_again(
    service: Service,
) -> None:
    answer = await service.http.get("/away")
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "2"
    assert (await problem_of(answer))["type"] == TYPE_BASE + "not-ready"


async def chunks(size: int) -> AsyncIterator[bytes]:
    for _ in range(size // 100):
        yield b"x" * 100


@pytest.mark.parametrize("path", ["/files", "/forms/H01"])
async def test_a_body_above_the_limit_is_refused_however_it_comes(
    service: Service, path: str
) -> None:
    send = service.http.put if path == "/files" else service.http.post
    whole = await send(path, content=b"x" * 1001)
    chunked = await send(path, content=chunks(1100))
    lying = await send(path, content=chunks(1100), headers={"content-length": "5"})
    for answer in (whole, chunked, lying):
        assert answer.status_code == 413, answer.text
        body = await problem_of(answer)
        assert body["type"] == TYPE_BASE + "body-too-large"
        assert "1000" in body["detail"]
        assert "1000" in body["detail_en"]


async def test_a_body_up_to_the_limit_passes(service: Service) -> None:
    assert (await service.http.put("/files", content=b"x" * 1000)).json() == {"size": 1000}
    assert (await service.http.put("/files", content=chunks(1000))).json() == {"size": 1000}
    answer = await service.http.put("/large/files", content=b"x" * 4000)
    assert answer.status_code != 413
    answer = await service.http.put("/large/files", content=b"x" * 5001)
    assert answer.status_code == 413
    odd = {b"content-length": b"\xb2"}
    answer = await service.http.put("/files", content=b"", headers=odd)
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("given_id", "kept"),
    [("abc-1._Z", True), ("a" * 64, True), ("a" * 65, False), ("a b", False), ("", False)],
)
async def test_a_request_has_an_id_its_own_or_the_callers(
    service: Service, given_id: str, kept: bool
) -> None:
    answer = await service.form({"name": "x"}, **{"x-request-id": given_id})
    identifier = answer.headers["x-request-id"]
    assert (identifier == given_id) is kept
    if not kept:
        assert UUID(identifier).version == 7
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"


async def test_counters_know_routes_and_not_what_stands_in_them(service: Service) -> None:
    for number in range(30):
        await service.http.post(f"/forms/H{number:02}", json={"name": "x"})
        await service.http.get(f"/nowhere/{number}")
        await service.http.request(f"VERB{number}", f"/nowhere/{number}")
    text = service.telemetry.metrics().decode()
    assert 'route="/forms/{code}",status="200"' in text
    assert "H07" not in text
    assert "nowhere" not in text
    assert "VERB" not in text
    counts = {line for line in text.splitlines() if line.startswith("http_request_seconds_count")}
    assert len(counts) == 3
    assert service.telemetry.usage["http.POST /forms/{code} 2xx"] == 30
    assert len(service.telemetry.usage) == 3


async def test_a_span_is_named_after_the_route_and_follows_the_callers_trace(
    service: Service,
) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    parent = f"00-{trace}-b7ad6b7169203331-01"
    await service.form({"name": "x"}, traceparent=parent)
    (span,) = service.spans.get_finished_spans()
    assert span.name == "POST /forms/{code}"
    assert format(span.get_span_context().trace_id, "032x") == trace  # type: ignore[union-attr]
    assert span.attributes == {"http.response.status_code": 200}
    service.spans.clear()
    await service.form({"name": "x"}, traceparent="00-zz-zz-01")
    assert len(service.spans.get_finished_spans()) == 1
