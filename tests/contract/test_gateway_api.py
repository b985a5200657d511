"""The gateway keeps what its OpenAPI document says, whatever it is sent."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # has no types of its own
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Err
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from starlette.types import Receive, Scope, Send

from gateway.main import create_app
from tests.support import gateway as support
from tests.support.databases import Databases
from tests.support.gateway import RunningGateway, Upstream, gateway_database, running_gateway

EXAMPLES = 24
"""Of each operation."""
LEAST = 1000
"""Of all of them."""

PUBLIC = {
    "token",
    "revoke_token",
    "revoked_tokens",
    "exchange_token",
    "jwks",
    "read_procedure",
    "list_procedures",
    "read_agency",
    "list_agencies",
    "read_procedure_versions",
    "read_procedure_groups",
    "read_agency_versions",
    "read_code_list",
    "read_code_list_versions",
    "read_changes",
    "list_code_lists",
    "list_channels",
    "read_channel",
    "conformance_page",
    "read_conformance",
    "list_conformance",
}
CHECKS = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
)


OAUTH = {(name, status) for name in ("token", "revoke_token") for status in ("400", "401")}
"""Their own dialect, RFC 6749 §5.2."""


@schemathesis.serializer("application/pdf", "application/x-ndjson", "application/partial-upload")
def as_it_is(_: Any, value: Any) -> bytes:
    """A file's content, generated as bytes or as text."""
    return value if isinstance(value, bytes) else str(value).encode()


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("gateway")
    made = support.settings("postgresql+asyncpg://nobody@127.0.0.1:9/none", folder)
    return create_app(made).openapi()


def operations(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        operation["operationId"]: operation
        for path in document["paths"].values()
        for operation in path.values()
    }


class Behind(Upstream):
    """A service that answers in the form it is asked for."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked = dict(scope["headers"]).get(b"accept", b"")
        kind = "text/html" if b"text/html" in asked else "application/json"
        self.headers = {"content-type": kind}
        await super().__call__(scope, receive, send)


@asynccontextmanager
async def serving(url: str, folder: Path) -> AsyncIterator[tuple[str, RunningGateway]]:
    """A gateway on a real port, with services behind that answer any read."""
    async with AsyncExitStack() as stack:
        behind = await stack.enter_async_context(Behind().serving())
        gateway = await stack.enter_async_context(
            running_gateway(
                url,
                folder,
                dossier_url=behind.url,
                catalog_url=behind.url,
                signature_url=behind.url,
            )
        )
        address = await stack.enter_async_context(support.listening(gateway.app))
        yield address, gateway


async def test_no_request_breaks_the_document(
    databases: Databases, tmp_path: Path, document: dict[str, Any]
) -> None:
    """Generated requests, sound and unsound ones, to every operation."""
    statuses: defaultdict[str, Counter[int]] = defaultdict(Counter)

    async with serving(await gateway_database(databases), tmp_path) as (address, gateway):
        headers = gateway.bearer(agencies=["*"])

        def ask(operation: Any) -> None:
            sound = operation.as_strategy(generation_mode=GenerationMode.POSITIVE)
            unsound = operation.as_strategy(generation_mode=GenerationMode.NEGATIVE)

            @given(case=sound | unsound, known=st.booleans())
            @settings(
                max_examples=EXAMPLES,
                deadline=None,
                database=None,
                derandomize=True,
                suppress_health_check=list(HealthCheck),
            )
            def answers_as_documented(case: Any, known: bool) -> None:
                if known:
                    name_known_things(case)
                response = case.call(headers=headers)
                statuses[operation.label][response.status_code] += 1
                case.validate_response(response, checks=CHECKS)

            answers_as_documented()

        def ask_all() -> None:
            schema = schemathesis.openapi.from_url(f"{address}/openapi.json")
            for found in schema.get_all_operations():
                assert not isinstance(found, Err)
                ask(found.ok())

        await asyncio.to_thread(ask_all)
    assert len(statuses) == len(operations(document))
    assert sum(answered.total() for answered in statuses.values()) >= LEAST
    # What was asked was neither all good nor all bad.
    assert statuses["GET /v1/dossiers"].keys() >= {200, 422}
    assert statuses["GET /v1/submissions"].keys() >= {200, 422}
    assert statuses["POST /v1/dossiers"].keys() >= {202, 422}
    assert statuses["POST /v1/dossiers/{code}/steps"].keys() >= {202, 422}


def name_known_things(case: Any) -> None:
    """Put codes and a time of our days into a generated request; the rest is as it was."""
    if case.method != "POST":
        return
    if "code" in case.path_parameters:
        case.path_parameters["code"] = support.dossier_code()
    if isinstance(case.body, dict):
        known = {**support.submission(), **support.step()}
        if case.operation.label == "POST /v1/dossiers":
            case.body.setdefault("code", known["code"])
        for name in {"code", "procedure", "submitted_at", "at"} & case.body.keys():
            case.body[name] = known[name]
        if "agency" in case.body:
            case.body["agency"] = support.AGENCY
        case.body.pop("documents", None)  # whose files nobody has uploaded
    if "Prefer" in case.headers:
        case.headers["Prefer"] = "wait=1"  # nobody decides here


def test_the_document_describes_bodies_and_nothing_dangles(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    schemas = document["components"]["schemas"]

    def refs(node: Any) -> list[str]:
        if isinstance(node, dict):
            own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
            return own + [ref for value in node.values() for ref in refs(value)]
        return [ref for item in node for ref in refs(item)] if isinstance(node, list) else []

    for ref in refs(document):
        _, _, kind, name = ref.split("/")
        assert name in document["components"][kind], ref
    assert schemas["Submit"]["additionalProperties"] is False
    assert len(schemas["Step"]["discriminator"]["mapping"]) == 14


def test_what_the_tests_send_fits_the_documented_schema(document: dict[str, Any]) -> None:
    def fits(model: str, body: Any) -> bool:
        schema = {**document, "$ref": f"#/components/schemas/{model}"}
        return bool(jsonschema.Draft202012Validator(schema).is_valid(body))

    assert fits("Submit", support.submission())
    assert not fits("Submit", support.submission(channel="9"))
    assert not fits("Submit", {**support.submission(), "more": 1})
    assert fits("Step", support.step("receive"))
    assert fits("Step", support.step("complete", results=[{"id": "1", "name": "a"}]))
    assert not fits("Step", support.step("submit"))


def test_every_operation_but_the_public_ones_needs_a_token(document: dict[str, Any]) -> None:
    needing = {
        name
        for name, operation in operations(document).items()
        if {"HTTPBearer": []} in operation.get("security", [])
    }
    assert needing.isdisjoint(PUBLIC)
    assert needing | PUBLIC == set(operations(document))
    named = {
        name
        for operation in operations(document).values()
        for way in operation.get("security", [])
        for name in way
    }
    assert named == set(document["components"]["securitySchemes"])


def test_every_operation_says_how_it_can_fail(document: dict[str, Any]) -> None:
    for name, operation in operations(document).items():
        for status, response in operation["responses"].items():
            before = status in {"429", "500"}  # told before the route could
            if name.startswith("exchange_") and not before:  # another dialect
                assert response["content"]["application/json"]["schema"]
            elif status.startswith(("4", "5")) and (name, status) not in OAUTH:
                schema = response["content"]["application/problem+json"]["schema"]
                assert schema == {"$ref": "#/components/schemas/Problem"}
        assert operation["summary"]
        if name not in PUBLIC:
            assert {"401", "403"} <= set(operation["responses"])
