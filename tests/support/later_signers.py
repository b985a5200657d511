"""A provider that takes orders and answers later: a process with books, and an adapter to it.

The process survives the workers that the tests kill. It signs whole files, so that nothing has to
be assembled; what its persons do is set with ``/_behaviour``.
"""

import argparse
import asyncio
import base64
import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import uvicorn
from cryptography.hazmat.primitives.serialization import Encoding
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from backbone.leash import Leashed
from signature_connector.domain.provider import (
    Abilities,
    Accepted,
    Called,
    Credential,
    Credentials,
    Declined,
    NeverSent,
    NotKnown,
    Order,
    Pending,
    Reply,
    Signed,
    Unavailable,
    Unclear,
    Unreadable,
)
from tests.support.assembly import raw_signature, wish
from tests.support.signing import authority, root, sign, signer
from tests.support.signing_services import call

_DIGEST_BYTES = 32  # no document is that short


class Books:
    """What was ordered, when it was asked about, and how persons behave."""

    def __init__(self) -> None:
        self.behaviour: dict[str, Any] = {"decide": "sign", "after": 0.0, "status": 200}
        self.orders: dict[str, dict[str, Any]] = {}
        self.calls: list[float] = []
        self.holder = signer()

    async def credentials(self, request: Request) -> JSONResponse:
        return JSONResponse(
            {
                "certificate": base64.b64encode(self.holder.der).decode(),
                "serial": self.holder.serial,
                "chain": [base64.b64encode(authority().der).decode()],
            }
        )

    async def submit(self, request: Request) -> JSONResponse:
        body = await request.json()
        order = self.orders.setdefault(
            body["id"], {"asked": 0, "papers": body["papers"], "at": time.time(), "status": 0}
        )
        order["asked"] += 1
        order["number"] = f"T{len(self.orders)}"
        if self.behaviour.get("lose_answers"):
            return JSONResponse({}, status_code=502)
        return JSONResponse({"submission": order["number"]})

    async def status(self, request: Request) -> JSONResponse:
        self.calls.append(time.time())
        body = await request.json()
        if self.behaviour["status"] != 200:
            return JSONResponse({}, status_code=self.behaviour["status"])
        order = self.orders.get(body["id"])
        if order is None:
            if self.behaviour["decide"] == "never":
                return JSONResponse({"state": "pending"})
            return JSONResponse({"state": "unknown"})
        order["status"] += 1
        decide = self.behaviour["decide"]
        if decide == "never" or time.time() < order["at"] + self.behaviour["after"]:
            return JSONResponse({"state": "pending"})
        if decide == "refuse":
            return JSONResponse({"state": "refused"})
        results: dict[str, str | None] = {}
        for number, (request_id, content) in enumerate(order["papers"].items()):
            if number in self.behaviour.get("refused", []):
                results[request_id] = None
                continue
            sent = base64.b64decode(content)
            if len(sent) == _DIGEST_BYTES:
                signed = raw_signature(self.holder.key, sent, wish(self.holder))
            else:
                signed = await asyncio.to_thread(sign, sent, self.holder)
            results[request_id] = base64.b64encode(signed).decode()
        return JSONResponse({"state": "signed", "results": results})

    async def behave(self, request: Request) -> JSONResponse:
        self.behaviour |= await request.json()
        return JSONResponse(self.behaviour)

    async def show(self, request: Request) -> JSONResponse:
        orders = {
            name: {**order, "papers": list(order["papers"])} for name, order in self.orders.items()
        }
        return JSONResponse({"orders": orders, "calls": self.calls})

    async def forget(self, request: Request) -> JSONResponse:
        self.orders.clear()
        self.calls.clear()
        self.behaviour = {"decide": "sign", "after": 0.0, "status": 200}
        return JSONResponse({})


class LaterSigners:
    """The adapter.

    Args:
        confirms: what the provider is said to be able to tell afterwards.
        signs: whole files, or hashes.
    """

    name = "later"

    def __init__(
        self,
        url: str,
        *,
        confirms: Any = "any",
        most: int = 10,
        name: str = "later",
        signs: Any = "files",
    ) -> None:
        self.name = name
        self.abilities = Abilities(signs=signs, waits=False, confirms=confirms, most=most)
        self._http = httpx.AsyncClient(base_url=url, trust_env=False, timeout=10)

    async def close(self) -> None:
        await self._http.aclose()

    async def credentials(self, user: str, ca_name: str) -> Credentials | Declined | Unavailable:
        try:
            told = (await self._http.post("/credentials", json={})).raise_for_status().json()
        except httpx.HTTPError as error:
            return Unavailable(type(error).__name__)
        credential = Credential(
            base64.b64decode(told["certificate"]),
            told["serial"],
            "T0",
            tuple(base64.b64decode(one) for one in told["chain"]),
        )
        return Credentials([credential], Reply("200", transaction_id="T0"))

    async def submit(self, order: Order) -> Signed | Accepted | Declined | NeverSent | Unclear:
        papers = {
            str(one.request_id): base64.b64encode(one.content or one.digest or b"").decode()
            for one in order.papers
        }
        body = {"id": str(order.outgoing_id), "papers": papers}
        try:
            answer = await self._http.post("/submit", json=body)
        except httpx.ConnectError:
            return NeverSent("ConnectError")
        if answer.status_code != 200:
            return Unclear(f"HTTP {answer.status_code}")
        return Accepted(answer.json()["submission"], Reply("200"))

    async def status(
        self, order: Order, submission: str | None
    ) -> Signed | Pending | Declined | NotKnown | Unavailable:
        try:
            answer = await self._http.post("/status", json={"id": str(order.outgoing_id)})
            told = answer.raise_for_status().json()
        except httpx.HTTPError as error:
            return Unavailable(type(error).__name__)
        reply = Reply("200", told["state"])
        match told["state"]:
            case "pending":
                return Pending(reply)
            case "unknown":
                return NotKnown(reply)
            case "refused":
                return Declined("rejected-by-user", reply)
        results: dict[UUID, bytes | Declined] = {
            UUID(name): base64.b64decode(content)
            if content
            else Declined("rejected-by-user", Reply("4002"))
            for name, content in told["results"].items()
        }
        return Signed(results, reply)

    def called(self, body: bytes) -> Called:
        try:
            return Called(outgoing_id=UUID(json.loads(body)["order"]))
        except (ValueError, KeyError, TypeError) as error:
            raise Unreadable(str(error)) from error


class Running:
    """The process: its address and its books."""

    def __init__(self, url: str, roots: Path) -> None:
        self.url, self.root = url, roots

    def behave(self, **how: Any) -> None:
        call("POST", f"{self.url}/_behaviour", json=how)

    def books(self) -> dict[str, Any]:
        return dict(call("GET", f"{self.url}/_books"))

    def reset(self) -> None:
        call("POST", f"{self.url}/_forget")

    def asked(self) -> list[int]:
        """How often each order was given."""
        return [order["asked"] for order in self.books()["orders"].values()]


@contextmanager
def later_signers(folder: Path) -> Iterator[Running]:
    """The process, on a free port, with the roots that its certificates lead to."""
    log = folder / "later-signers.log"
    bundle = folder / "roots.pem"
    program = [sys.executable, "-m", "tests.support.later_signers", str(bundle)]
    process = Leashed(program, log=log)
    try:
        deadline = time.monotonic() + 60
        while "url" not in (told := log.read_text()):
            if time.monotonic() > deadline or not process.running:
                raise AssertionError(f"it did not start:\n{told}")
            time.sleep(0.05)
        yield Running(json.loads(told.splitlines()[0])["url"], bundle)
    finally:
        process.stop()


async def _serve() -> None:
    books = Books()
    app = Starlette(
        routes=[
            Route("/credentials", books.credentials, methods=["POST"]),
            Route("/submit", books.submit, methods=["POST"]),
            Route("/status", books.status, methods=["POST"]),
            Route("/_behaviour", books.behave, methods=["POST"]),
            Route("/_books", books.show),
            Route("/_forget", books.forget, methods=["POST"]),
        ]
    )
    server = uvicorn.Server(
        uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error", access_log=False)
    )
    running = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    sys.stdout.write(json.dumps({"url": f"http://127.0.0.1:{port}"}) + "\n")
    sys.stdout.flush()
    await running


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    bundle: Path = parser.parse_args().bundle
    trusted = (root(), authority())
    bundle.write_bytes(b"".join(one.certificate.public_bytes(Encoding.PEM) for one in trusted))
    asyncio.run(_serve())
