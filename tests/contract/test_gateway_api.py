"""The gateway keeps what its OpenAPI document says, whatever it is sent."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # has no types of its own
import pytest
from starlette.types import Receive, Scope, Send

from common.contracts.catalog import AgencyPublished, Field, ProcedurePublished
from gateway.main import create_app
from tests.support import gateway as support
from tests.support.databases import Databases
from tests.support.gateway import RunningGateway, Upstream, gateway_database, running_gateway

EXAMPLES = 3
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
SCOPES = (
    *("dossiers:write", "dossiers:read", "dossiers:search", "dossiers:personal", "signing:read"),
    "signatures:verify",
    *("channels:write", "questions:read", "questions:write", "audit", "operations"),
)
EXAMPLE_AGENCY, EXAMPLE_PROCEDURE = "H49", "1.000387"
"""What the document's examples name."""
CONFIG = Path(__file__).with_name("schemathesis.toml")

OAUTH = {(name, status) for name in ("token", "revoke_token") for status in ("400", "401")}
"""Their own dialect, RFC 6749 §5.2."""


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
        self.status = 202 if scope["path"].endswith("/answer") else 200
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
                portal_sync_url=behind.url,
            )
        )
        address = await stack.enter_async_context(support.listening(gateway.app))
        yield address, gateway


async def test_no_request_breaks_the_document(
    databases: Databases, tmp_path: Path, document: dict[str, Any]
) -> None:
    """Generated requests, sound and unsound ones, to every operation, and chains of them."""
    report = tmp_path / "report.json"
    async with serving(await gateway_database(databases), tmp_path) as (address, gateway):
        await gateway.hear(
            AgencyPublished(
                code=EXAMPLE_AGENCY, legacy_code=None, name="Tỉnh", active=True, version=1
            ),
            ProcedurePublished(
                code=EXAMPLE_PROCEDURE,
                name="Khai sinh",
                field=Field(code=None, name="Hộ tịch"),
                version=1,
            ),
        )
        token = gateway.bearer(agencies=["*"], scopes=SCOPES)["Authorization"]
        ended = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG), "run"),
            f"{address}/openapi.json",
            *("--checks", "all", "--phases", "coverage,fuzzing,stateful"),
            *("--max-examples", str(EXAMPLES), "--seed", "1", "--no-shrink"),
            *("--report", "json", "--report-json-path", str(report)),
            env={**os.environ, "ACCESS_TOKEN": token.removeprefix("Bearer ")},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await ended.communicate()
    assert ended.returncode == 0, said.decode()[-20_000:]
    told = json.loads(report.read_text("utf-8"))
    assert told["operations"]["tested"] == len(operations(document))
    assert told["test_cases"]["generated"] >= LEAST
    # What was asked was neither all good nor all bad.
    for label in ("POST /v1/dossiers", "POST /v1/dossiers/{code}/steps", "GET /v1/dossiers"):
        fuzzed = told["valid_rates"][label]
        assert sum(phase["accepted"] for phase in fuzzed.values())


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
