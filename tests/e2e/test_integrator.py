"""A new integrator's first day: the quick start as it is written, and a generated client."""

import asyncio
import compileall
import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from backbone.assembly import Client, Plan, running
from backbone.demo import play

together = pytest.mark.asyncio(loop_scope="module")

ROOT = Path(__file__).parents[2]
QUICK_START = ROOT / "docs/api/quick-start.md"
BIN = Path(sys.executable).parent
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_END = "-- end of block --"


@dataclass(frozen=True)
class Installation:
    """What an operator tells a new integrator."""

    gateway: str
    client: Client

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "GATEWAY": self.gateway,
            "CLIENT_ID": self.client.client_id,
            "CLIENT_SECRET": self.client.secret,
            "NO_PROXY": "*",
        }


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def installation(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Installation]:
    """All services, as ``make run`` has them, with the catalogue loaded."""
    folder = tmp_path_factory.mktemp("integrator")
    async with play.stage(folder) as (postgres, outside):
        plan = Plan(
            folder=folder,
            databases=await play.databases(postgres),
            ports=play.free_ports(0),
            outside=outside,
            clients=(play.demo_client(),),
        )
        async with running(plan):
            (client,) = plan.clients
            gateway = plan.url("gateway")
            await ready(gateway)
            yield Installation(gateway, client)


async def ready(gateway: str) -> None:
    """Wait until the gateway knows the whole catalogue."""
    async with httpx.AsyncClient(trust_env=False) as http, asyncio.timeout(90):
        while (await http.get(f"{gateway}/readyz")).status_code != 200:
            await asyncio.sleep(0.2)


async def ran(command: list[str], environment: dict[str, str], folder: Path) -> str:
    """What a program printed; it has to end well."""
    program = await asyncio.create_subprocess_exec(
        *command,
        cwd=folder,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(120):
        out, error = await program.communicate()
    assert program.returncode == 0, (out + error).decode()
    return out.decode()


def blocks() -> list[tuple[str, dict[str, Any] | None]]:
    """The quick start's commands, each with what it shows of their last answer."""
    found: list[tuple[str, dict[str, Any] | None]] = []
    for kind, text in _BLOCK.findall(QUICK_START.read_text("utf-8")):
        if kind == "bash":
            found.append((text, None))
        elif kind == "json":
            found[-1] = found[-1][0], json.loads(text)
    return found


@together
async def test_every_command_of_the_quick_start_does_what_it_says(
    installation: Installation, tmp_path: Path
) -> None:
    commands = blocks()
    assert len(commands) >= 9
    script = "set -euo pipefail\n" + "".join(
        f"{text}\nprintf '\\n%s\\n' '{_END}'\n" for text, _ in commands
    )
    printed = await ran(["bash", "-c", script], installation.environment, tmp_path)
    for (text, shown), answer in zip(commands, printed.split(_END), strict=False):
        if shown is not None:
            last = last_of(answer)
            assert {name: last.get(name) for name in shown} == shown, text


def last_of(printed: str) -> dict[str, Any]:
    """The last of the JSON documents that stand one after another."""
    decoder, rest = json.JSONDecoder(), printed.strip()
    document: dict[str, Any] = {}
    while rest:
        document, end = decoder.raw_decode(rest)
        rest = rest[end:].strip()
    return dict(document)


def test_the_quick_start_needs_no_program_but_curl() -> None:
    for text, _ in blocks():
        assert "curl" in text
        assert not re.search(r"\b(python3?|jq|node|perl|wget)\b", text)


LIFE = """
import os
from datetime import datetime, timezone
from uuid import uuid4

from lienthong import AuthenticatedClient, Client
from lienthong.api.authentication import token
from lienthong.api.catalogue import list_procedures
from lienthong.api.dossiers import read_dossier, read_steps, submit_dossier, take_step
from lienthong.api.submissions import list_submissions, read_submission
from lienthong import models

gateway = os.environ["GATEWAY"]
form = models.TokenBody(
    grant_type=models.TokenBodyGrantType.CLIENT_CREDENTIALS,
    client_id=os.environ["CLIENT_ID"],
    client_secret=os.environ["CLIENT_SECRET"],
)
with Client(base_url=gateway) as anybody:
    issued = token.sync(client=anybody, body=form)
    assert isinstance(issued, models.TokenAnswer), issued
    procedure = list_procedures.sync(client=anybody, active=True, limit=1)["items"][0]["code"]

now = datetime.now(timezone.utc)
with AuthenticatedClient(base_url=gateway, token=issued.access_token) as client:
    body = models.Submit(
        agency="H49",
        procedure=procedure,
        channel=models.SubmitChannel.VALUE_1,
        applicant=models.Applicant(kind=models.ApplicantKind.VALUE_0, name="Nguyễn Thị Bưởi"),
        summary="Đề nghị giải quyết",
        submitted_at=now,
    )
    key = str(uuid4())
    taken = submit_dossier.sync_detailed(
        client=client, body=body, idempotency_key=key, prefer="wait=15"
    )
    assert taken.status_code == 200, taken
    code = taken.parsed.dossier_code
    again = submit_dossier.sync(client=client, body=body, idempotency_key=key)
    assert again.submission_id == taken.parsed.submission_id

    def step(body):
        done = take_step.sync_detailed(
            code, client=client, body=body, idempotency_key=str(uuid4()), prefer="wait=15"
        )
        assert done.status_code == 200, done
        assert done.parsed.state == models.SubmissionAnswerState.APPLIED

    step(models.Receive(kind="receive", at=now, note="Tiếp nhận"))
    step(models.RequestSupplement(kind="request-supplement", at=now, content="Bổ sung đơn"))
    step(models.GiveSupplement(kind="give-supplement", at=now))
    step(models.Progress(kind="progress", at=now, note="Thẩm định"))
    step(models.Complete(kind="complete", at=now))
    step(models.Return(kind="return", at=now))
    satisfied = models.RateSatisfaction.SATISFIED
    step(models.Rate(kind="rate", at=now, satisfaction=satisfied, source="phiếu"))

    refused = take_step.sync_detailed(
        code, client=client, body=models.Progress(kind="progress", at=now),
        idempotency_key=str(uuid4()), prefer="wait=15",
    )
    assert refused.status_code == 409, refused
    assert isinstance(refused.parsed, models.Problem)
    assert refused.parsed.type_.endswith(":dossier-closed")

    dossier = read_dossier.sync(code, client=client)
    assert (dossier["status"], dossier["state"]) == ("10", "known")
    steps = read_steps.sync(code, client=client, limit=50)["items"]
    assert [one["kind"] for one in steps][-1] == "rate", steps
    mine = list_submissions.sync(client=client, limit=50)
    assert {one.dossier_code for one in mine.items} >= {code}
    assert read_submission.sync(mine.items[0].submission_id, client=client).dossier_code
    print(len(steps))
"""


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package ``lienthong``, generated from the committed document."""
    folder = tmp_path_factory.mktemp("client")
    config = folder / "config.yml"
    # Without formatters: who generates a client for real formats it as they like.
    config.write_text("post_hooks: []\n")
    done = subprocess.run(
        [
            *(str(BIN / "openapi-python-client"), "generate", "--meta", "none"),
            *("--path", str(ROOT / "contracts/rest/gateway.openapi.json")),
            *("--output-path", str(folder / "lienthong"), "--config", str(config)),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_a_generated_client_compiles(generated: Path) -> None:
    assert compileall.compile_dir(generated / "lienthong", quiet=1)
    assert len(list((generated / "lienthong/models").glob("*.py"))) > 40


@together
async def test_a_generated_client_plays_the_whole_life_of_a_dossier(
    installation: Installation, generated: Path
) -> None:
    environment = {**installation.environment, "PYTHONPATH": str(generated)}
    printed = await ran([sys.executable, "-c", LIFE], environment, generated)
    assert int(printed) >= 8
