"""The eSign gateway's dialect: snake_case in, camelCase out.

Known from one portal's practice, not from a specification: both calls and their fields, that the
transaction id is the gateway's own and is carried from the first call into the second, one file a
call, that the call waits for the person's phone, an optional Bearer token, ``status_code`` 200 for
success. There is no call that tells what became of a signing call.
"""

import base64
import binascii
import re
from typing import Any

import httpx
from pydantic import SecretStr

from signature_connector.domain.provider import (
    Abilities,
    Called,
    Credential,
    Credentials,
    Declined,
    NeverSent,
    Order,
    Reply,
    Signed,
    Unavailable,
    Unclear,
    Unreadable,
)
from signature_connector.providers import wire
from signature_connector.providers.wire import MOST_CERTIFICATES, SMALL_ANSWER, Line

DONE = "200"
_LONGEST_NAME = 200
_UNSAFE = re.compile(r'[\x00-\x1f<>:"/\\|?*]+')


class EsignGateway:
    """The adapter.

    Args:
        http: a client with the gateway's base URL and as many connections as requests that wait.
        token: Bearer token, where the gateway wants one.
        call_seconds: how long the certificates may take.
        user_seconds: how long the person may take; below the gateway's own patience (330 s were
            seen) its late answers would be lost.
        longest: bytes of the longest signed document that is taken.
        name: what the operator calls it.
    """

    abilities = Abilities(signs="files", waits=True, confirms="nothing")

    def __init__(
        self,
        http: httpx.AsyncClient,
        *,
        token: SecretStr | None,
        call_seconds: float,
        user_seconds: float,
        longest: int,
        name: str = "esign",
    ) -> None:
        self.name = name
        self._line = Line(http)
        self._call_seconds = call_seconds
        self._user_seconds = user_seconds
        self._longest_answer = longest * 4 // 3 + SMALL_ANSWER
        self._secrets: list[str] = []
        self._headers: dict[str, str] = {}
        if token is not None:
            self._secrets = [token.get_secret_value()]
            self._headers["Authorization"] = f"Bearer {self._secrets[0]}"
        self._signing = wire.clear_answers("esign", "signing")
        self._certificates = wire.clear_answers("esign", "certificates")

    async def credentials(self, user: str, ca_name: str) -> Credentials | Declined | Unavailable:
        """``get_certificate``."""
        wanted = {"user_id": user, "ca_name": ca_name}
        try:
            answer = await self._line.post(
                "/get_certificate", wanted, seconds=self._call_seconds, headers=self._headers
            )
        except Exception as error:  # whatever the network, or bytes that are no HTTP, raise
            return Unavailable(wire.kind(error))
        told = answer.fields
        reply = self._reply(told, user)
        if answer.broken or not reply.code:
            return Unavailable(f"HTTP {answer.status}", reply, answer.pause)
        if reply.code == DONE:
            found = _credentials(told)
            if found is None:
                return Unavailable("answer not understood", reply)
            return Credentials(found, reply)
        meant = wire.declined(wire.meaning(self._certificates, reply.code), reply)
        return meant or Unavailable(f"code {reply.code}", reply, answer.pause)

    async def submit(self, order: Order) -> Signed | Declined | NeverSent | Unclear:
        """``sign_file``: returns when the person has decided, or time is up."""
        if (unfit := wire.unfit(order, self.abilities)) is not None:
            return unfit
        (paper,) = order.papers
        try:
            answer = await self._line.post(
                "/sign_file",
                wire_order(order),
                seconds=self._user_seconds,
                longest=self._longest_answer,
                headers={**self._headers, "X-Request-Id": str(order.outgoing_id)},
            )
        except Exception as error:  # whatever the network, or bytes that are no HTTP, raise
            return wire.fate(error)
        outer = answer.fields
        inner = outer.get("data")
        told = inner if isinstance(inner, dict) and "status_code" in inner else outer
        reply = self._reply(told, order.user)
        if answer.broken or not reply.code:
            return Unclear(f"HTTP {answer.status}", reply)
        files = told.get("signFiles")
        if reply.code == DONE:
            content = _only_file(files, str(paper.request_id))
            if not content:
                return Unclear("no file", reply)
            return Signed({paper.request_id: content}, reply)
        meant = wire.declined(wire.meaning(self._signing, reply.code), reply)
        if meant is not None and not files:
            return meant
        return Unclear(f"code {reply.code}", reply)

    async def status(self, order: Order, submission: str | None) -> Unavailable:
        """The gateway has no call for it."""
        return Unavailable("no status call")

    def called(self, body: bytes) -> Called:
        """The gateway calls nobody."""
        raise Unreadable("the eSign gateway has no callbacks")

    def _reply(self, told: dict[str, Any], user: str) -> Reply:
        data = told.get("data")
        within = data if isinstance(data, dict) else told
        return wire.reply(
            told.get("status_code"),
            told.get("message"),
            within.get("transaction_id"),
            hidden=[user, *self._secrets],
        )


def wire_order(order: Order) -> dict[str, Any]:
    """The body of ``sign_file``. ``doc_id`` is ours and is shown on the person's phone."""
    (paper,) = order.papers
    return {
        "user_id": order.user,
        "ca_name": order.ca_name,
        "cert_data": base64.b64encode(order.credential.certificate).decode(),
        "serial_number": order.credential.serial_number,
        "transaction_id": order.credential.transaction_id,
        "sign_files": [
            {
                "doc_id": str(paper.request_id),
                "file_name": file_name(paper.name),
                "file_base64": base64.b64encode(paper.content or b"").decode(),
            }
        ],
    }


def file_name(document_name: str) -> str:
    """A document's name as a file name: no path, no control characters, ``.pdf``."""
    stem = _UNSAFE.sub(" ", document_name).strip(" .")[:_LONGEST_NAME] or "document"
    return stem if stem.lower().endswith(".pdf") else f"{stem}.pdf"


def _credentials(told: dict[str, Any]) -> list[Credential] | None:
    """The certificates of an answer; None where it does not have the known form."""
    data = told.get("data")
    rows = data.get("user_certificates") if isinstance(data, dict) else None
    if not isinstance(data, dict) or not isinstance(rows, list):
        return None
    found = []
    for row in rows[:MOST_CERTIFICATES]:
        certificate = wire.certificate(row.get("cert_data")) if isinstance(row, dict) else None
        if certificate is None or "serial_number" not in row:
            return None
        transaction = row.get("transaction_id") or data.get("transaction_id")
        found.append(
            Credential(
                certificate=certificate,
                serial_number=wire.text(row["serial_number"]),
                transaction_id=wire.text(transaction),
            )
        )
    return found


def _only_file(files: Any, doc_id: str) -> bytes | None:
    """The content of the one signed file; None where there is no such thing, or it says that it is
    another document."""
    if not isinstance(files, list) or len(files) != 1 or not isinstance(files[0], dict):
        return None
    if files[0].get("doc_id", doc_id) != doc_id:
        return None
    try:
        return base64.b64decode(files[0]["file_base64"], validate=True)
    except (KeyError, TypeError, binascii.Error, ValueError):
        return None
