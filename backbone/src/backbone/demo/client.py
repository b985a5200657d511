"""A client system: it sends dossiers through the gateway and keeps a book of what it sent."""

import asyncio
import io
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
from reportlab.pdfgen.canvas import Canvas

from backbone.demo.lives import Life
from common.http import http_client, retry_after

_TRIES = 200
_LONGEST_PAUSE = 3.0
_PAGE = 200


class Unexpected(Exception):
    """The gateway gave an answer that the play does not provide for."""


@dataclass
class Sent:
    """What the client knows of one dossier: every submission it holds a 202 for."""

    life: Life
    submissions: list[str] = field(default_factory=list)
    steps_with_official: int = 0
    to_sign: str | None = None
    """SHA-256 of the paper that was to be signed."""
    done: bool = False


@dataclass
class Book:
    """The client's own record, to hold against everybody else's."""

    sent: dict[str, Sent] = field(default_factory=dict)

    @property
    def submissions(self) -> int:
        """How many submissions were answered with 202."""
        return sum(len(sent.submissions) for sent in self.sent.values())


class ClientSystem:
    """A province's gateway, as the backbone sees it.

    Retries as a good client does: after a lost connection or a 5xx the same request again, with
    the same key, until it is answered.
    """

    def __init__(self, gateway_url: str, client_id: str, secret: str) -> None:
        self._url = gateway_url.rstrip("/")
        self._credentials = (client_id, secret)
        self._token = ""
        self._renewing = asyncio.Lock()
        self.book = Book()

    async def play(
        self,
        lives: list[Life],
        *,
        at_once: int = 16,
        living: int = 1000,
        signature_seconds: float = 120.0,
        step_done: Callable[[Sent], None],
    ) -> None:
        """Play all lives.

        Args:
            at_once: calls at the same time.
            living: dossiers that are on their way at the same time.
            signature_seconds: how long to wait for a result's signature.

        Raises:
            Unexpected: an answer that no retry will change.
        """
        turn = asyncio.Semaphore(at_once)
        room = asyncio.Semaphore(living)
        async with http_client(timeout=60.0, connections=at_once + 4) as http:

            async def one(life: Life) -> None:
                sent = self.book.sent.setdefault(life.code, Sent(life))
                async with room:
                    await through(life, sent)

            async def through(life: Life, sent: Sent) -> None:
                async with turn:
                    await self._submit(http, sent)
                    step_done(sent)
                for number, step in enumerate(life.steps):
                    signs = number == life.wait_for_signature
                    if signs and not await self._signed(http, life.code, signature_seconds):
                        return  # the comparison says what was not done
                    async with turn:
                        await self._step(http, sent, number, step)
                        step_done(sent)
                sent.done = True
                step_done(sent)

            async with asyncio.TaskGroup() as tasks:
                for life in lives:
                    tasks.create_task(one(life))

    async def outcomes(self) -> dict[str, str]:
        """The state of every submission of the book's dossiers, as the gateway tells it."""
        states: dict[str, str] = {}
        after: str | None = ""
        async with http_client(timeout=30.0) as http:
            while after is not None:
                path = f"/v1/submissions?limit={_PAGE}" + (f"&after={after}" if after else "")
                page = (await self._call(http, "GET", path)).json()
                states |= {
                    item["submission_id"]: item["state"]
                    for item in page["items"]
                    if item["dossier_code"] in self.book.sent
                }
                after = page["next"]
        return states

    async def held(self) -> set[str]:
        """Dossiers whose signature is held for an operator, as the gateway tells it."""
        codes: set[str] = set()
        turn = asyncio.Semaphore(8)
        async with http_client(timeout=30.0) as http, asyncio.TaskGroup() as tasks:

            async def one(code: str) -> None:
                async with turn:
                    answer = await self._call(http, "GET", f"/v1/dossiers/{code}")
                if any(result["signing"] == "held" for result in answer.json()["results"]):
                    codes.add(code)

            for code, sent in self.book.sent.items():
                if sent.to_sign:
                    tasks.create_task(one(code))
        return codes

    async def procedures(self, count: int) -> list[dict[str, Any]]:
        """Procedures from the catalogue."""
        async with http_client() as http:
            answer = await self._call(http, "GET", f"/v1/procedures?limit={count}")
            return list(answer.json()["items"])

    async def _submit(self, http: httpx.AsyncClient, sent: Sent) -> None:
        life = sent.life
        answer = await self._call(http, "POST", "/v1/dossiers", json=life.submission)
        sent.submissions.append(answer.json()["submission_id"])

    async def _step(
        self, http: httpx.AsyncClient, sent: Sent, number: int, step: dict[str, Any]
    ) -> None:
        if results := step.get("results"):
            paper = _paper(sent.life.code)
            stored = await self._call(
                http,
                "POST",
                "/v1/files",
                content=paper,
                headers={"content-type": "application/pdf"},
            )
            sent.to_sign = stored.json()["sha256"]
            step = {**step, "results": [{**results[0], "file": sent.to_sign}]}
        answer = await self._call(
            http,
            "POST",
            f"/v1/dossiers/{sent.life.code}/steps",
            json=step,
            headers={"idempotency-key": f"{sent.life.code}/{number}"},
        )
        sent.submissions.append(answer.json()["submission_id"])
        sent.steps_with_official += "official" in step

    async def _signed(self, http: httpx.AsyncClient, code: str, patience: float) -> bool:
        """Wait until a result is signed, refused or held; False where that takes too long."""
        pause = 0.2
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            answer = await self._call(http, "GET", f"/v1/dossiers/{code}")
            results = answer.json().get("results") or [{"signing": "asked"}]
            if results[0]["signing"] not in ("asked", "none"):
                return True
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)
        return False

    async def _call(
        self,
        http: httpx.AsyncClient,
        method: str,
        path: str,
        *,
        json: Any = None,
        content: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> httpx.Response:
        for attempt in range(_TRIES):
            try:
                answer = await http.request(
                    method,
                    self._url + path,
                    json=json,
                    content=content,
                    headers={**(headers or {}), **await self.authorization(http)},
                )
            except httpx.HTTPError:
                await asyncio.sleep(min(0.1 * 2**attempt, 1.0))
                continue
            if answer.status_code == 401:
                self._token = ""
            elif answer.status_code in (409, 429) and "retry-after" in answer.headers:
                await asyncio.sleep(retry_after(answer) or 1.0)
            elif answer.status_code >= 500:
                await asyncio.sleep(retry_after(answer) or min(0.1 * 2**attempt, 1.0))
            elif answer.is_success:
                return answer
            else:
                raise Unexpected(f"{method} {path}: {answer.status_code} {answer.text[:500]}")
        raise Unexpected(f"{method} {path}: no answer in {_TRIES} tries")

    async def authorization(self, http: httpx.AsyncClient) -> dict[str, str]:
        """The Authorization header, with a new token where there is none."""
        async with self._renewing:
            if not self._token:
                answer = await http.post(
                    f"{self._url}/oauth/token",
                    data={"grant_type": "client_credentials"},
                    auth=self._credentials,
                )
                answer.raise_for_status()
                self._token = answer.json()["access_token"]
        return {"authorization": f"Bearer {self._token}"}


def _paper(code: str) -> bytes:
    """A one-page result; no two alike."""
    page = io.BytesIO()
    canvas = Canvas(page, invariant=True)
    canvas.drawString(72, 760, f"Ket qua giai quyet ho so {code}")
    canvas.save()
    return page.getvalue()
