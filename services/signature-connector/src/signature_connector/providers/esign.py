"""The eSign gateway's dialect: snake_case in, camelCase out.

Known from one portal's practice, not from a specification: both calls and their fields, that the
transaction id is the gateway's own and is carried from the first call into the second, one file a
call, that the call waits for the person's phone, an optional Bearer token, ``status_code`` 200 for
success. There is no call that tells what became of a signing call.
"""

import asyncio
import base64
import binascii
import re
from importlib import resources
from typing import Any, Literal

import httpx
import orjson
from pydantic import SecretStr

from common.http import never_sent, retry_after
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

DONE = "200"
MOST_CERTIFICATES = 20
_CONNECT_SECONDS = 5.0
_SMALL_ANSWER = 1024 * 1024
_LONGEST_MESSAGE = 200
_LONGEST_NAME = 200
_LONGEST_TEXT = 1000
_NUMBER = re.compile(r"\d{6,}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")
_UNSAFE = re.compile(r'[\x00-\x1f<>:"/\\|?*]+')

ClearNo = Literal["rejected-by-user", "expired", "failed"]


class TooLong(Exception):
    """An answer above the limit."""


def clear_answers(call: str) -> dict[str, ClearNo]:
    """Codes of a call (``signing``, ``certificates``) that are a clear no, with the outcome."""
    source = resources.files("signature_connector") / "data/esign_codes.json"
    rows = orjson.loads(source.read_bytes())[call]
    return {row["code"]: row["outcome"] for row in rows}


class EsignGateway:
    """The adapter.

    Args:
        http: a client with the gateway's base URL and as many connections as requests that wait.
        token: Bearer token, where the gateway wants one.
        call_seconds: how long the certificates may take.
        user_seconds: how long the person may take; below the gateway's own patience (330 s were
            seen) its late answers would be lost.
        longest: bytes of the longest signed document that is taken.
    """

    name = "esign"
    abilities = Abilities(signs="files", waits=True, confirms="nothing")

    def __init__(
        self,
        http: httpx.AsyncClient,
        *,
        token: SecretStr | None,
        call_seconds: float,
        user_seconds: float,
        longest: int,
    ) -> None:
        self._http = http
        self._call_seconds = call_seconds
        self._user_seconds = user_seconds
        self._longest_answer = longest * 4 // 3 + _SMALL_ANSWER
        # A connection is used once: one that the other side is about to close would turn a
        # request for a signature into one whose fate nobody knows.
        self._headers = {
            "Content-Type": "application/json",
            "Accept-Encoding": "identity",
            "Connection": "close",
        }
        if token is not None:
            self._headers["Authorization"] = f"Bearer {token.get_secret_value()}"
        self._signing = clear_answers("signing")
        self._certificates = clear_answers("certificates")

    async def credentials(self, user: str, ca_name: str) -> Credentials | Declined | Unavailable:
        """``get_certificate``."""
        wanted = {"user_id": user, "ca_name": ca_name}
        try:
            answer, body = await self._post(
                "/get_certificate", wanted, self._call_seconds, _SMALL_ANSWER, {}
            )
        except Exception as error:  # whatever the network, or bytes that are no HTTP, raise
            return Unavailable(_kind(error))
        told = _object(body)
        reply = _reply(told, user)
        if answer.status_code >= httpx.codes.INTERNAL_SERVER_ERROR or not reply.code:
            return Unavailable(f"HTTP {answer.status_code}", reply, retry_after(answer))
        if reply.code == DONE:
            found = _credentials(told)
            if found is None:
                return Unavailable("answer not understood", reply)
            return Credentials(found, reply)
        if reply.code in self._certificates:
            return Declined(self._certificates[reply.code], reply)
        return Unavailable(f"code {reply.code}", reply, retry_after(answer))

    async def submit(self, order: Order) -> Signed | Declined | NeverSent | Unclear:
        """``sign_file``: returns when the person has decided, or time is up."""
        (paper,) = order.papers
        try:
            answer, body = await self._post(
                "/sign_file",
                wire_order(order),
                self._user_seconds,
                self._longest_answer,
                {"X-Request-Id": str(order.outgoing_id)},
            )
        except Exception as error:  # whatever the network, or bytes that are no HTTP, raise
            if never_sent(error):
                return NeverSent(_kind(error))
            timed_out = isinstance(error, TimeoutError | httpx.ReadTimeout)
            return Unclear(_kind(error), timed_out=timed_out)
        outer = _object(body)
        inner = outer.get("data")
        told = inner if isinstance(inner, dict) and "status_code" in inner else outer
        reply = _reply(told, order.user)
        if answer.status_code >= httpx.codes.INTERNAL_SERVER_ERROR or not reply.code:
            return Unclear(f"HTTP {answer.status_code}", reply)
        files = told.get("signFiles")
        if reply.code == DONE:
            content = _only_file(files)
            if not content:
                return Unclear("no file", reply)
            return Signed({paper.request_id: content}, reply)
        if reply.code in self._signing and not files:
            return Declined(self._signing[reply.code], reply)
        return Unclear(f"code {reply.code}", reply)

    async def status(self, order: Order, submission: str | None) -> Unavailable:
        """The gateway has no call for it."""
        return Unavailable("no status call")

    def called(self, body: bytes) -> Called:
        """The gateway calls nobody."""
        raise Unreadable("the eSign gateway has no callbacks")

    async def _post(
        self,
        path: str,
        wanted: dict[str, Any],
        seconds: float,
        longest: int,
        headers: dict[str, str],
    ) -> tuple[httpx.Response, bytes]:
        body = bytearray()
        async with (
            asyncio.timeout(seconds),  # httpx counts from the last byte, and bytes may drip
            self._http.stream(
                "POST",
                path,
                content=orjson.dumps(wanted),
                headers={**self._headers, **headers},
                timeout=httpx.Timeout(seconds, connect=_CONNECT_SECONDS),
            ) as answer,
        ):
            async for chunk in answer.aiter_bytes():
                body += chunk
                if len(body) > longest:
                    raise TooLong
        return answer, bytes(body)


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


def _kind(error: Exception) -> str:
    return type(error.__cause__ or error).__name__


def _object(body: bytes) -> dict[str, Any]:
    try:
        told = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return told if isinstance(told, dict) else {}


def _reply(told: dict[str, Any], user: str) -> Reply:
    """What was said, without what may name a person: their number, or any long number."""
    data = told.get("data")
    within = data if isinstance(data, dict) else told
    message = _text(told.get("message")).replace(user, "…")
    return Reply(
        code=_text(told.get("status_code"))[:20] or None,
        message=_NUMBER.sub("…", message)[:_LONGEST_MESSAGE] or None,
        transaction_id=_text(within.get("transaction_id")) or None,
    )


def _text(value: Any) -> str:
    """A short text without control characters; empty for anything else."""
    if not isinstance(value, str | int):
        return ""
    return _CONTROL.sub(" ", str(value))[:_LONGEST_TEXT]


def _credentials(told: dict[str, Any]) -> list[Credential] | None:
    """The certificates of an answer; None where it does not have the known form."""
    data = told.get("data")
    rows = data.get("user_certificates") if isinstance(data, dict) else None
    if not isinstance(data, dict) or not isinstance(rows, list):
        return None
    found = []
    for row in rows[:MOST_CERTIFICATES]:
        try:
            transaction = row.get("transaction_id") or data.get("transaction_id")
            found.append(
                Credential(
                    certificate=base64.b64decode(row["cert_data"], validate=True),
                    serial_number=_text(row["serial_number"]),
                    transaction_id=_text(transaction),
                )
            )
        except (KeyError, TypeError, AttributeError, binascii.Error, ValueError):
            return None
    return found


def _only_file(files: Any) -> bytes | None:
    """The content of the one signed file; None where there is no such thing."""
    if not isinstance(files, list) or len(files) != 1:
        return None
    try:
        return base64.b64decode(files[0]["file_base64"], validate=True)
    except (KeyError, TypeError, binascii.Error, ValueError):
        return None
