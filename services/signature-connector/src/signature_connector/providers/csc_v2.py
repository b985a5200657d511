"""CSC API v2: the signature is made asynchronously (``operationMode`` A) and polled by its
``responseID``.

Before that the person confirms, in one of two ways (``confirmation``):

``authorize``: ``credentials/authorize`` answers with the SAD, or with a handle (HTTP 202) that
``credentials/authorizeCheck`` changes into the SAD once the person confirmed. Handles may change
from answer to answer and a SAD must not be kept, so this is waited for here; what is lost
meanwhile cannot be asked about.

``provider``: the service's own session may use the credential, and the provider asks the person
after it took the order.
"""

import asyncio
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal

import httpx

from signature_connector.domain.provider import (
    Abilities,
    Accepted,
    Called,
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
from signature_connector.providers import csc, wire
from signature_connector.providers.csc import CscAccount, CscService
from signature_connector.providers.sessions import LoginFailed
from signature_connector.providers.wire import Answer, Line

_LEAST_PAUSE, _MOST_PAUSE, _PAUSE_GROWTH = 1.0, 10.0, 1.5
_TRIES = 3


class CscV2:
    """The adapter.

    Args:
        name: what the operator calls it.
        call_seconds: how long a call may take.
        user_seconds: how long the person may take to confirm, with ``authorize``.
        confirmation: how the person confirms.
        response_uri: where the provider reports that a signature is done, where it does.
        most: documents in one order; more than the credential's ``multisign`` are refused.
        mechanisms: how keys there sign, by preference.
    """

    def __init__(
        self,
        line: Line,
        account: CscAccount,
        *,
        name: str = "csc-v2",
        call_seconds: float = 20.0,
        user_seconds: float = 330.0,
        confirmation: Literal["authorize", "provider"] = "authorize",
        response_uri: str | None = None,
        most: int = 10,
        mechanisms: tuple[str, ...] = ("rsassa_pss", "ecdsa", "rsassa_pkcs1v15"),
    ) -> None:
        self.name = name
        self.abilities = Abilities(
            signs="hashes",
            waits=confirmation == "authorize",
            confirms="accepted",
            most=most,
            mechanisms=mechanisms,
        )
        self._service = CscService(line, account, call_seconds)
        self._user_seconds = user_seconds
        self._authorizes = confirmation == "authorize"
        self._response_uri = response_uri
        self._table = wire.clear_answers("csc", "polling")

    async def credentials(self, user: str, ca_name: str) -> Credentials | Declined | Unavailable:
        """``credentials/list`` with all it can tell."""
        wanted = {
            "credentialInfo": True,
            "certificates": "chain",
            "certInfo": True,
            "authInfo": True,
            "onlyValid": True,
        }
        return await self._service.credentials(user, wanted, self._usable)

    async def submit(self, order: Order) -> Signed | Accepted | Declined | NeverSent | Unclear:
        """``credentials/authorize``, where the person confirms there; ``signatures/signHash``."""
        if (unfit := wire.unfit(order, self.abilities)) is not None:
            return unfit
        if not self._authorizes:
            return await self._sign(order, None)
        sad = await self._authorized(order)
        return await self._sign(order, sad) if isinstance(sad, str) else sad

    async def _authorized(self, order: Order) -> str | Declined | NeverSent | Unclear:
        """The SAD, or why there is none."""
        until = time.monotonic() + self._patience(order)
        wanted = {
            "credentialID": order.credential.transaction_id,
            "numSignatures": len(order.papers),
            "hashes": csc.hashes(order),
            "hashAlgorithmOID": csc.algorithms(order, "hash")["hash"],
            "description": csc.description(order),
            "clientData": str(order.outgoing_id),
        }
        try:
            answer = await self._service.post(
                "credentials/authorize", wanted, seconds=max(until - time.monotonic(), 1.0)
            )
        except LoginFailed as failed:
            return failed.fate()
        except Exception as error:  # whatever the network, or bytes that are no HTTP, raise
            return wire.fate(error)
        handle = csc.secret(answer, "handle") if answer.status == httpx.codes.ACCEPTED else ""
        if handle:
            return await self._checked(order, handle, until)
        return self._sad(answer, order)

    async def _checked(self, order: Order, handle: str, until: float) -> str | Declined | Unclear:
        """Ask for the SAD until the person has confirmed; a question that fails is asked again."""
        pause = _LEAST_PAUSE
        while (left := until - time.monotonic()) > 0:
            await asyncio.sleep(min(pause, left))
            pause = min(pause * _PAUSE_GROWTH, _MOST_PAUSE)
            try:
                answer = await self._service.post(
                    "credentials/authorizeCheck", {"handle": handle}, again=True
                )
            except Exception:  # noqa: S112 - whatever the network raises: the person still decides
                continue
            if answer.broken or answer.status == httpx.codes.TOO_MANY_REQUESTS:
                continue
            if answer.status == httpx.codes.ACCEPTED:
                handle = csc.secret(answer, "handle") or handle
                continue
            return self._sad(answer, order, handle)
        return Unclear("not confirmed in time", timed_out=True)

    def _sad(self, answer: Answer, order: Order, handle: str = "") -> str | Declined | Unclear:
        sad = csc.secret(answer, "SAD") if answer.status == httpx.codes.OK else ""
        if sad:
            return sad
        reply = self._service.reply(answer, order.user, handle)
        return csc.refusal(answer, reply) or Unclear(csc.why(answer, reply), reply)

    async def _sign(
        self, order: Order, sad: str | None
    ) -> Signed | Accepted | Declined | NeverSent | Unclear:
        wanted: dict[str, Any] = {
            "credentialID": order.credential.transaction_id,
            "hashes": csc.hashes(order),
            **csc.algorithms(order, "hashAlgorithmOID"),
            "operationMode": "A",
            "clientData": str(order.outgoing_id),
        }
        if sad is not None:
            wanted["SAD"] = sad
        if self._response_uri is not None:
            wanted["response_uri"] = self._response_uri
        last: NeverSent | Unclear = Unclear("no answer")
        for _ in range(_TRIES):
            try:
                answer = await self._service.post("signatures/signHash", wanted)
            except LoginFailed as failed:
                told = failed.fate()
                return told if sad is None else Unclear(told.reason, failed.reply)
            except Exception as error:  # whatever the network, or bytes that are no HTTP, raise
                last = wire.fate(error)
                if isinstance(last, Unclear) or sad is None:
                    return last
                last = Unclear(last.reason)  # the person has confirmed, and the SAD is still good
                continue
            return self._begun(answer, order, sad or "")
        return last

    def _begun(
        self, answer: Answer, order: Order, sad: str
    ) -> Signed | Accepted | Declined | Unclear:
        reply = self._service.reply(answer, order.user, sad)
        no = csc.refusal(answer, reply)
        if no is not None:
            return no
        if not 200 <= answer.status < 300:
            return Unclear(csc.why(answer, reply), reply)
        signatures = answer.fields.get("signatures")
        if signatures:  # one that does not know asynchronous mode signs at once
            found = wire.signatures_in_order(signatures, order)
            return Signed(found, reply) if found else Unclear("no signature", reply)
        submission = wire.identifier(answer.fields.get("responseID"))
        return Accepted(submission, reply) if submission else Unclear("no responseID", reply)

    async def status(
        self, order: Order, submission: str | None
    ) -> Signed | Pending | Declined | NotKnown | Unavailable:
        """``signatures/signPolling``."""
        if not submission:
            return Unavailable("no responseID to ask by")
        wanted = {"requestID": submission, "userID": order.user}
        try:
            answer = await self._service.post("signatures/signPolling", wanted, again=True)
        except LoginFailed as failed:
            return Unavailable(f"login: {failed.reason}", failed.reply, failed.pause)
        except Exception as error:  # whatever the network, or bytes that are no HTTP, raise
            return Unavailable(wire.kind(error))
        reply = self._service.reply(answer, order.user)
        if answer.broken:
            return Unavailable(f"HTTP {answer.status}", reply, answer.pause)
        return self._become(answer, order, reply)

    def _become(
        self, answer: Answer, order: Order, reply: Reply
    ) -> Signed | Pending | Declined | NotKnown | Unavailable:
        if answer.status == httpx.codes.ACCEPTED:
            return Pending(reply, answer.pause)
        if answer.status == httpx.codes.OK:
            found = wire.signatures_in_order(answer.fields.get("signatures"), order)
            return Signed(found, reply) if found else Unavailable("answer not understood", reply)
        meant = wire.meaning(self._table, reply.code, answer.fields.get("error_description"))
        if meant == "waiting":
            return Pending(reply, answer.pause)
        if meant == "not-known":
            return NotKnown(reply)
        no = wire.declined(meant, reply)
        return no or Unavailable(csc.why(answer, reply), reply, answer.pause)

    def called(self, body: bytes) -> Called:
        """What is posted to ``response_uri`` is not specified; its ``responseID`` is looked for."""
        told = wire.decoded_json(body)
        fields = told if isinstance(told, dict) else {}
        submission = wire.identifier(fields.get("responseID", fields.get("requestID")))
        if not submission:
            raise Unreadable("no responseID")
        return Called(submission=submission)

    def _patience(self, order: Order) -> float:
        if order.expires_at is None:
            return self._user_seconds
        left = (order.expires_at - datetime.now(UTC)).total_seconds()
        return max(min(left, self._user_seconds), 0.0)

    def _usable(self, row: Mapping[str, Any]) -> bool:
        """Whether the holder confirms to the provider itself."""
        auth = row.get("auth")
        if not self._authorizes:
            return True
        return isinstance(auth, dict) and auth.get("mode") == "explicit" and not auth.get("objects")
