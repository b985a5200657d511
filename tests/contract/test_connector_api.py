"""The signature connector keeps what its OpenAPI document says, whatever it is sent."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from signature_connector.main import create_app
from signature_connector.settings import Settings
from tests.support.databases import Databases
from tests.support.gateway import NOWHERE, listening
from tests.support.signature_connector import (
    Connector,
    connector_database,
    running_connector,
    settings,
    token,
)
from tests.support.signing_services import SigningGateway, signing_gateway

EXAMPLES = 3
"""Of each operation."""
LEAST = 400
"""Of all of them."""
SCOPES = ("signing:write", "signing:read", "operations", "signatures:verify", "dossiers:personal")
PUBLIC = {"signing_callback"}
CONFIG = Path(__file__).with_name("schemathesis_connector.toml")


@pytest.fixture
def gateway(tmp_path: Path) -> Any:
    with signing_gateway(tmp_path, "--keys", "ecdsa") as running:
        yield running


@dataclass(frozen=True)
class There:
    """What requests can be about: a signed one, a held one, and a document."""

    signed: UUID
    held: UUID
    file: str

    def known(self) -> str:
        return json.dumps({"requests": [str(self.signed), str(self.held)], "file": self.file})


async def made(configured: Settings, gateway: SigningGateway) -> There:
    async with running_connector(configured) as connector:
        signed = await connector.asked()
        await connector.until(signed, "completed")
        gateway.fault(on="sign_file", kind="drop_after", times=1)
        held = await connector.asked()
        await connector.until(held, "manual-review")
        return There(signed, held, await connector.document())


@asynccontextmanager
async def serving(configured: Settings) -> AsyncIterator[tuple[str, Connector]]:
    """The connector on a real port; who is asked to sign there is away."""
    nobody = configured.model_copy(update={"esign_url": NOWHERE})
    async with running_connector(nobody) as connector, listening(connector.app) as address:
        yield address, connector


async def test_no_request_breaks_the_document(
    databases: Databases, tmp_path: Path, gateway: SigningGateway
) -> None:
    """Generated requests, sound and unsound ones, to every operation, and chains of them."""
    report = tmp_path / "report.json"
    configured = settings(await connector_database(databases), tmp_path, gateway)
    there = await made(configured, gateway)
    async with serving(configured) as (address, connector):
        ended = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG), "run"),
            f"{address}/openapi.json",
            *("--checks", "all", "--phases", "coverage,fuzzing,stateful"),
            *("--max-examples", str(EXAMPLES), "--seed", "1", "--no-shrink"),
            *("--report", "json", "--report-json-path", str(report)),
            env={
                **os.environ,
                "ACCESS_TOKEN": token(*SCOPES, agencies=("*",)),
                "KNOWN": there.known(),
            },
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await ended.communicate()
        requests = await connector.rows("SELECT * FROM signing_request")
    assert ended.returncode == 0, said.decode()[-20_000:]
    told = json.loads(report.read_text("utf-8"))
    assert told["operations"]["tested"] == len(operations(connector.app.openapi()))
    assert told["test_cases"]["generated"] >= LEAST
    # What was asked was neither all good nor all bad.
    for label in ("POST /v1/signing-requests", "POST /v1/signature-verifications"):
        fuzzed = told["valid_rates"][label]
        assert sum(phase["accepted"] for phase in fuzzed.values()), label
    assert len(requests) > 2


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("connector")
    nowhere = SigningGateway(NOWHERE, folder / "roots.pem")
    made = settings("postgresql+asyncpg://nobody@127.0.0.1:9/none", folder, nowhere)
    return create_app(made).openapi()


def operations(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        operation["operationId"]: operation
        for path in document["paths"].values()
        for operation in path.values()
    }


def test_every_operation_says_how_it_can_fail(document: dict[str, Any]) -> None:
    for name, operation in operations(document).items():
        assert "422" in operation["responses"], name
        for status, response in operation["responses"].items():
            if status.startswith(("4", "5")):
                schema = response["content"]["application/problem+json"]["schema"]
                assert schema == {"$ref": "#/components/schemas/Problem"}
        if name not in PUBLIC:
            assert {"401", "403"} <= set(operation["responses"])
            assert operation["security"] == [{"HTTPBearer": []}]


def test_the_document_names_nothing_that_it_does_not_describe(document: dict[str, Any]) -> None:
    text = json.dumps(document)
    named = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert named == set(document["components"]["schemas"])
