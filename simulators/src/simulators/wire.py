"""What the programs share: reading a call, drawing faults, answering or not, the control calls.

A program is a plain ASGI application because a dropped connection needs the server's own `send`:
uvicorn passes a bound method of the object that owns the socket, and aborting that transport is
what a caller sees as a lost connection rather than as an answer. Paths that begin with `/_` are
control calls (health, books, faults); everything else is the outside system's own.
"""

import asyncio
import socket
import struct
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from simulators.books import Books, Entry, page
from simulators.faults import KINDS, Answer, BadFault, Call, Cut, Faults, Kind, Proceed, Reply, Rule

BODY_LIMIT = 32 * 1024 * 1024  # bytes; the simulators' own choice
PAGE_LIMIT = 5000


class Dropped(ConnectionError):
    """A cut connection, where there is no socket to cut (an in-process transport)."""


class Left(ConnectionError):
    """The caller left before its call had arrived."""


class TooLarge(ValueError):
    """A body beyond BODY_LIMIT."""


@dataclass(frozen=True, slots=True)
class View:
    """A page of the books: its rows, one row as JSON (`brief` or whole), and a row by its key."""

    rows: Callable[[], Sequence[Any]]
    render: Callable[[Any, bool], Any]
    find: Callable[[str], Any] | None = None


def as_answer(payload: Any, status: int = 200) -> Answer:
    """A JSON answer of the outside system."""
    return Answer(orjson.dumps(payload), status=status)


class Simulator(ABC):
    """An outside system on the wire; subclasses set their state before calling this.

    Parameters:
        seed: makes the draws of the faults and of the program repeatable.
        state: directory of this program's journal, or None to keep the books in memory only.
        delay_ms: added to every call, milliseconds.
    """

    name: ClassVar[str]

    def __init__(self, seed: int = 0, state: Path | None = None, delay_ms: float = 0) -> None:
        self.faults = Faults(self.kinds(), seed)
        self.books = Books(state, self.fold, self.forget_all)
        self._delay = delay_ms / 1000
        self._views = {"calls": View(lambda: self.books.calls, _entry), **self.views()}
        self._control = Starlette(
            routes=[
                Route("/_health", self._health),
                Route("/_books", self._summary, methods=["GET", "DELETE"]),
                Route("/_books/{view}", self._page),
                Route("/_books/{view}/{key:path}", self._row),
                Route("/_faults", self._faults, methods=["GET", "POST", "DELETE"]),
                *self.extra_routes(),
            ]
        )

    # What a program says of itself.

    @abstractmethod
    def service_of(self, path: str, payload: Mapping[str, Any]) -> str | None:
        """The service a call is for, or None where the system has no such path."""

    @abstractmethod
    async def work(self, service: str, call: Call, entry: Entry) -> Answer:
        """Do what is asked, record it in the books, and say what to answer."""

    @abstractmethod
    def odd(self, code: str, message: str) -> Answer:
        """A failure with any code, in this system's form."""

    @abstractmethod
    def fold(self, kept: Any) -> None:
        """Apply one record of the books to the state."""

    @abstractmethod
    def forget_all(self) -> None:
        """Empty the state."""

    @abstractmethod
    def totals(self) -> dict[str, Any]:
        """The program's own part of the summary of its books."""

    @abstractmethod
    def views(self) -> dict[str, View]:
        """The pages of the program's books."""

    def payload_of(self, body: bytes) -> dict[str, Any] | None:
        """What a body says (a JSON object, unless overridden), or None if it is no such thing."""
        try:
            payload = orjson.loads(body)
        except orjson.JSONDecodeError:
            return None
        return payload if isinstance(payload, dict) else None

    def facts(self, payload: Mapping[str, Any]) -> dict[str, list[str]]:
        """Values of a call that the `match` of a fault may look at."""
        return {}

    def kinds(self) -> dict[str, Kind]:
        """The fault kinds of the wire and, in subclasses, the program's own."""
        defaults = {
            "code": "99",
            "message": "Cập nhật không thành công, vui lòng thử lại",
            "work": False,
        }
        return {**KINDS, "wrong_code": Kind(self._wrong_code, defaults)}

    def extra_routes(self) -> list[Route]:
        """Further GET paths that are not counted as calls."""
        return []

    # The wire.

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        if scope["method"] != "POST" or scope["path"].startswith("/_"):
            await self._control(scope, receive, send)
            return
        try:
            payload = self.payload_of(await _read(receive))
        except Left:
            return
        except TooLarge:
            await _send(as_answer({"message": "Dữ liệu quá lớn"}, status=413), send)
            return
        path = scope["path"]
        service = self.service_of(path, payload or {})
        if service is None:
            await _send(as_answer({"message": "Không tìm thấy"}, status=404), send)
            return
        call = Call(
            names=(service, path, "*"),
            payload=payload,
            headers=dict(scope["headers"]),
            facts=self.facts(payload or {}) if self.faults.rules else {},
        )
        entry = self.books.begin(service)
        end = "dropped"
        try:
            if self._delay:
                await asyncio.sleep(self._delay)
            reply = await self.faults.run(call, lambda: self.work(service, call, entry))
            end = "silent" if reply is Cut.SILENCE else "dropped"
            end = await _deliver(reply, receive, send)
        except asyncio.CancelledError:
            if _transport(send) is None:
                raise
            _cut(send)  # the program stops: its callers lose the connection, as after a kill
            await _gone(receive)
        finally:
            self.books.finish(entry, end)

    async def _wrong_code(self, rule: Rule, call: Call, proceed: Proceed) -> Reply:
        if rule["work"]:
            await proceed()
        return self.odd(rule["code"], rule["message"])

    # The control calls.

    async def _health(self, request: Request) -> Response:
        return _json({"status": "ok", "program": self.name})

    async def _summary(self, request: Request) -> Response:
        if request.method == "DELETE":
            self.books.clear()
        return _json({"program": self.name, **self.books.summary(), **self.totals()})

    async def _page(self, request: Request) -> Response:
        view = self._views.get(request.path_params["view"])
        if view is None:
            return _json({"error": f"pages: {', '.join(self._views)}"}, 404)
        query = request.query_params
        try:
            after, limit = int(query.get("after", 0)), int(query.get("limit", 500))
        except ValueError:
            return _json({"error": "after and limit are numbers"}, 400)
        if after < 0 or not 1 <= limit <= PAGE_LIMIT:
            return _json({"error": f"after from 0, limit from 1 to {PAGE_LIMIT}"}, 400)
        brief = query.get("brief") == "1"
        return _json(page(view.rows(), after, limit, lambda row: view.render(row, brief)))

    async def _row(self, request: Request) -> Response:
        view = self._views.get(request.path_params["view"])
        row = view.find(request.path_params["key"]) if view and view.find else None
        if view is None or row is None:
            return _json({"error": "not in the books"}, 404)
        return _json(view.render(row, request.query_params.get("brief") == "1"))

    async def _faults(self, request: Request) -> Response:
        if request.method == "DELETE":
            self.faults.clear()
        elif request.method == "POST":
            try:
                posted = orjson.loads(await request.body())
                self.faults.post(posted if isinstance(posted, list) else [posted])
            except (orjson.JSONDecodeError, BadFault) as wrong:
                return _json({"error": str(wrong)}, 400)
        return _json([rule.as_json() for rule in self.faults.rules])


def _entry(entry: Entry, brief: bool) -> dict[str, Any]:
    return entry.as_json()


def _json(payload: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(payload), status, media_type="application/json")


async def _read(receive: Receive) -> bytes:
    """What was sent; raises Left, TooLarge."""
    parts: list[bytes] = []
    size = 0
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Left
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > BODY_LIMIT:
            raise TooLarge
        more = message.get("more_body", False)
    return b"".join(parts)


async def _deliver(reply: Reply, receive: Receive, send: Send) -> str:
    """Answer, or do not; returns how the call ended for the caller."""
    if isinstance(reply, Answer):
        if getattr(getattr(send, "__self__", None), "disconnected", False):
            return "gone"
        await _send(reply, send)
        return "answered"
    if reply is not Cut.SILENCE:
        _cut(send, reset=reply is Cut.RESET)
    await _gone(receive)
    return "silent" if reply is Cut.SILENCE else "dropped"


async def _gone(receive: Receive) -> None:
    """Wait until the caller has left; returning earlier would make the server answer."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _send(reply: Answer, send: Send) -> None:
    headers = [
        (b"content-type", reply.content_type),
        (b"content-length", str(len(reply.body)).encode()),
        *reply.headers,
    ]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    if reply.drip_ms:
        for i in range(len(reply.body)):
            part = reply.body[i : i + 1]
            await send({"type": "http.response.body", "body": part, "more_body": True})
            await asyncio.sleep(reply.drip_ms / 1000)
        await send({"type": "http.response.body", "body": b""})
    else:
        await send({"type": "http.response.body", "body": reply.body})


def _cut(send: Send, reset: bool = False) -> None:
    transport = _transport(send)
    if transport is None:
        raise Dropped("the connection is cut")
    if reset:  # a zero linger makes the kernel send RST instead of FIN
        linger = struct.pack("ii", 1, 0)
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    transport.abort()


def _transport(send: Send) -> Any:
    """The socket's transport, reached through the server object that `send` is a method of."""
    return getattr(getattr(send, "__self__", None), "transport", None)
