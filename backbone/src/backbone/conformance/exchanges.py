"""What is written down of every request, and nothing more: no bodies, no tokens."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jwt
import orjson

_DOSSIER = re.compile(r"/v1/dossiers/([^/]+)/steps")
_ONE_SUBMISSION = re.compile(r"/v1/submissions/([^/]+)")


@dataclass(slots=True)
class Exchange:
    """A request and what became of it.

    Attributes:
        number: from 1, in the order in which requests came.
        at, answered_at: seconds on one clock; ``answered_at`` None while it runs.
        token: a mark of its access token, to tell one from another.
        key: its ``Idempotency-Key``.
        body: a mark of its content.
        dossier: the code in its path or body.
        kind: of the step, or ``submit``.
        disturbed: what the kit did to it.
        status: that the system got to see; None where it got no answer.
        taken: the status of the gateway's own answer, whatever the system got to see.
        problem: the last part of the problem's type.
        submission: the id in the answer.
        state: of that submission, as the answer says.
        told: submissions whose outcome the answer tells.
    """

    number: int
    at: float
    method: str
    path: str
    token: str = ""
    client_id: str = ""
    key: str | None = None
    body: str = ""
    dossier: str | None = None
    kind: str | None = None
    disturbed: str | None = None
    retry_after: float = 0.0
    status: int | None = None
    taken: int | None = None
    answered_at: float | None = None
    problem: str = ""
    submission: str | None = None
    state: str | None = None
    told: dict[str, str] = field(default_factory=dict)

    @property
    def writes(self) -> bool:
        """Whether it asks for something to be taken in."""
        return self.kind is not None

    @property
    def same(self) -> tuple[str, str, str | None, str]:
        """What a repetition has in common with it."""
        return self.method, self.path, self.key, self.body

    @property
    def name(self) -> str:
        """How a report calls it; paths hold dossier codes, which are the system's own."""
        return f"#{self.number} {self.method} {self.path}"


def asked(
    number: int, at: float, method: str, path: str, headers: Mapping[str, str], body: bytes
) -> Exchange:
    """What can be said of a request before it is answered."""
    token = headers.get("authorization", "")
    exchange = Exchange(
        number,
        at,
        method,
        path,
        token=_mark(token.encode()) if token else "",
        client_id=_client_id(token),
        key=headers.get("idempotency-key"),
        body=_mark(body),
    )
    document = _document(body) if method == "POST" else {}
    if method == "POST" and path == "/v1/dossiers":
        exchange.kind, exchange.dossier = "submit", document.get("code")
    elif method == "POST" and (step := _DOSSIER.fullmatch(path)):
        exchange.kind, exchange.dossier = str(document.get("kind", "")), step[1]
    return exchange


def answered(exchange: Exchange, status: int, body: bytes) -> None:
    """Note what the gateway answered."""
    exchange.taken = status
    document = _document(body)
    if status >= 400:
        exchange.problem = str(document.get("type", "")).rpartition(":")[2]
    if identifier := document.get("submission_id"):
        exchange.submission, exchange.state = str(identifier), document.get("state")
        exchange.dossier = exchange.dossier or document.get("dossier_code")
        if status >= 400 and exchange.writes:
            exchange.state = "refused"  # told at once, to ``Prefer: wait``
    listed = document.get("items") if isinstance(document.get("items"), list) else [document]
    for item in listed or ():
        if isinstance(item, dict) and item.get("state") in ("applied", "refused"):
            exchange.told[str(item.get("submission_id"))] = str(item["state"])
    if exchange.state == "refused" and exchange.submission:
        exchange.told[exchange.submission] = "refused"


def is_poll(exchange: Exchange) -> bool:
    """Whether it asks how a submission ended."""
    return exchange.method == "GET" and (
        exchange.path == "/v1/submissions" or _ONE_SUBMISSION.fullmatch(exchange.path) is not None
    )


def _document(body: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _client_id(token: str) -> str:
    try:
        claims = jwt.decode(token.partition(" ")[2], options={"verify_signature": False})
    except jwt.PyJWTError:
        return ""
    return str(claims.get("client_id", ""))


def _mark(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
