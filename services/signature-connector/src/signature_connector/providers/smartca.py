"""The dialect between service providers and CAs that QĐ 769/QĐ-BTTTT describes, as VNPT SmartCA
speaks it: hashes in hexadecimal, the person is asked on the phone, the outcome is polled.

Known from one vendor's document for integrators (kịch bản tích hợp, v4.1) and from several public
programs that use it: the three calls and their fields, several documents in one order with one
confirmation, that ``doc_id`` is shown on the phone too, HTTP POST throughout, that the status call
takes no body worth mentioning and answers ``SUCCESS`` with ``signatures`` once the person
confirmed. Of the webhook the fields are known, and no authentication is described: it only makes us
ask. How a refusal is told is not documented (``data/smartca_codes.json``).

``time_stamp`` is optional and described in two ways that exclude each other, so it is left out. No
field names a signature scheme: a CA that signs otherwise than with PKCS#1 v1.5 has to be told of in
the configuration.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import PurePath
from typing import Any, Literal
from urllib.parse import quote
from uuid import UUID, uuid4

import httpx
from pydantic import SecretStr

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
from signature_connector.providers import wire
from signature_connector.providers.wire import MOST_CERTIFICATES, Answer, Line

DONE = "200"
_LONGEST_DESCRIPTION = 200
_LONGEST_WAIT_SECONDS = 24 * 3600
_SPACES = re.compile(r"\s+")
_FILE_TYPES = {".xml": "xml", ".json": "json", ".doc": "word", ".docx": "word"}


@dataclass(frozen=True, slots=True)
class SpAccount:
    """What a CA gave a service provider."""

    sp_id: str
    sp_password: SecretStr


class SmartCa:
    """The adapter.

    Args:
        name: what the operator calls it.
        call_seconds: how long a call may take; none of them waits for the person.
        status_by: which id the status call takes: ours (seen in most programs), or the one that
            the CA gave the order; then nothing can be asked of an order whose answer was lost.
        most: documents in one order.
        mechanisms: how the CA signs.
    """

    def __init__(
        self,
        line: Line,
        account: SpAccount,
        *,
        name: str = "smartca",
        call_seconds: float = 20.0,
        status_by: Literal["transaction_id", "tran_code"] = "transaction_id",
        most: int = 10,
        mechanisms: tuple[str, ...] = ("rsassa_pkcs1v15",),
    ) -> None:
        self.name = name
        self.abilities = Abilities(
            signs="hashes",
            waits=False,
            confirms="any" if status_by == "transaction_id" else "accepted",
            most=most,
            mechanisms=mechanisms,
        )
        self._line = line
        self._sp_id = account.sp_id
        self._password = account.sp_password
        self._seconds = call_seconds
        self._by_ours = status_by == "transaction_id"
        self._tables = {
            call: wire.clear_answers("smartca", call)
            for call in ("certificates", "signing", "status")
        }

    async def credentials(self, user: str, ca_name: str) -> Credentials | Declined | Unavailable:
        """``credentials/get_certificate``: the person's certificates, those of seals left aside."""
        wanted = {
            **self._caller(),
            "user_id": user,
            "serial_number": "",
            "transaction_id": str(uuid4()),
        }
        try:
            answer = await self._post("credentials/get_certificate", wanted)
        except Exception as error:  # whatever the network, or bytes that are no HTTP, raise
            return Unavailable(wire.kind(error))
        reply = self._reply(answer, user)
        if answer.broken or not reply.code:
            return Unavailable(f"HTTP {answer.status}", reply, answer.pause)
        if reply.code == DONE:
            found = _credentials(answer.fields.get("data"))
            if found is None:
                return Unavailable("answer not understood", reply)
            return Credentials(found, reply)
        meant = wire.declined(self._meaning("certificates", answer), reply)
        return meant or Unavailable(f"code {reply.code}", reply, answer.pause)

    async def submit(self, order: Order) -> Signed | Accepted | Declined | NeverSent | Unclear:
        """``signatures/sign``: the CA asks the person; some answer with the signatures at once."""
        if (unfit := wire.unfit(order, self.abilities)) is not None:
            return unfit
        try:
            answer = await self._post("signatures/sign", self._order(order))
        except Exception as error:  # whatever the network, or bytes that are no HTTP, raise
            return wire.fate(error)
        reply = self._reply(answer, order.user)
        if answer.broken or not reply.code:
            return Unclear(f"HTTP {answer.status}", reply)
        rows = _rows(answer)
        if reply.code == DONE:
            return _begun(answer, order, rows, reply, by_ours=self._by_ours)
        meant = wire.declined(self._meaning("signing", answer), reply)
        if meant is not None and not rows:
            return meant
        return Unclear(f"code {reply.code}", reply)

    async def status(
        self, order: Order, submission: str | None
    ) -> Signed | Pending | Declined | NotKnown | Unavailable:
        """``signatures/sign/{id}/status``."""
        asked = submission or (str(order.outgoing_id) if self._by_ours else None)
        if not asked:
            return Unavailable("no transaction to ask by")
        try:
            answer = await self._post(
                f"signatures/sign/{quote(asked, safe='')}/status", {}, again=True
            )
        except Exception as error:  # whatever the network, or bytes that are no HTTP, raise
            return Unavailable(wire.kind(error))
        reply = self._reply(answer, order.user)
        if answer.broken or (not reply.code and answer.status != httpx.codes.NOT_FOUND):
            return Unavailable(f"HTTP {answer.status}", reply, answer.pause)
        if answer.status == httpx.codes.NOT_FOUND:
            return NotKnown(reply)
        return self._become(answer, order, reply)

    def _become(
        self, answer: Answer, order: Order, reply: Reply
    ) -> Signed | Pending | Declined | NotKnown | Unavailable:
        rows = _rows(answer)
        meant = self._meaning("status", answer)
        if rows:
            if reply.code != DONE or meant in {"rejected-by-user", "expired", "failed"}:
                return Unavailable("answer contradicts itself", reply)
            found = _signatures(rows, order)
            return Signed(found, reply) if found else Unavailable("answer not understood", reply)
        if meant == "not-known":
            return NotKnown(reply)
        if meant == "waiting":
            return Pending(reply, answer.pause)
        no = wire.declined(meant, reply)
        if no is not None:
            return no
        if reply.code == DONE and wire.text(answer.fields.get("message")).upper() != "SUCCESS":
            return Pending(reply, answer.pause)
        return Unavailable(f"code {reply.code}", reply, answer.pause)

    def called(self, body: bytes) -> Called:
        """The webhook names our transaction. That it names our account too is no proof of
        anything, and not needed: we only ask."""
        told = wire.decoded_json(body)
        if not isinstance(told, dict) or told.get("sp_id") != self._sp_id:
            raise Unreadable("not of this account")
        transaction = wire.identifier(told.get("transaction_id"))
        if not transaction:
            raise Unreadable("no transaction")
        try:
            return Called(outgoing_id=UUID(transaction))
        except ValueError:
            return Called(submission=transaction)

    def _caller(self) -> dict[str, str]:
        return {"sp_id": self._sp_id, "sp_password": self._password.get_secret_value()}

    def _order(self, order: Order) -> dict[str, Any]:
        """The body of ``signatures/sign``. ``doc_id`` is ours and is shown on the phone."""
        names = "; ".join(paper.name for paper in order.papers)
        files = [
            {
                "doc_id": str(paper.request_id),
                "file_type": file_type(paper.name),
                "sign_type": "hash",
                "data_to_be_signed": digest.hex(),
            }
            for paper, digest in zip(order.papers, wire.digests(order), strict=True)
        ]
        return {
            **self._caller(),
            "user_id": order.user,
            "serial_number": order.credential.serial_number,
            "transaction_id": str(order.outgoing_id),
            "transaction_desc": _SPACES.sub(" ", names)[:_LONGEST_DESCRIPTION],
            "sign_files": files,
        }

    def _meaning(self, call: str, answer: Answer) -> str | None:
        told = answer.fields
        return wire.meaning(self._tables[call], told.get("status_code"), told.get("message"))

    def _reply(self, answer: Answer, user: str) -> Reply:
        told = answer.fields
        data = told.get("data")
        within = data if isinstance(data, dict) else told
        return wire.reply(
            told.get("status_code"),
            told.get("message"),
            within.get("tran_code") or within.get("transaction_id"),
            hidden=[user, self._password.get_secret_value()],
        )

    async def _post(self, path: str, wanted: dict[str, Any], *, again: bool = False) -> Answer:
        return await self._line.post(path, wanted, seconds=self._seconds, again=again)


def file_type(document_name: str) -> str:
    """The kind of document as the phone shows it."""
    return _FILE_TYPES.get(PurePath(document_name).suffix.lower(), "pdf")


def _begun(
    answer: Answer, order: Order, rows: Sequence[Any] | None, reply: Reply, *, by_ours: bool
) -> Signed | Accepted | Unclear:
    if rows:
        found = _signatures(rows, order)
        return Signed(found, reply) if found else Unclear("no signature", reply)
    data = answer.fields.get("data")
    told = data if isinstance(data, dict) else {}
    given = wire.identifier(told.get("tran_code"))
    ours = wire.identifier(told.get("transaction_id"))
    if not given and ours != str(order.outgoing_id):
        return Unclear("no transaction", reply)
    if by_ours:
        return Accepted(str(order.outgoing_id), reply, _end(told.get("expired_in")))
    return (
        Accepted(given, reply, _end(told.get("expired_in")))
        if given
        else Unclear("no transaction", reply)
    )


def _end(seconds: Any) -> datetime | None:
    if isinstance(seconds, bool) or not isinstance(seconds, int):
        return None
    if not 0 < seconds <= _LONGEST_WAIT_SECONDS:
        return None
    return datetime.now(UTC) + timedelta(seconds=seconds)


def _rows(answer: Answer) -> Sequence[Any] | None:
    """Signed documents: ``signatures`` of a status, ``signed_files`` of an order; None for none."""
    data = answer.fields.get("data")
    if not isinstance(data, dict):
        return None
    rows = data.get("signatures") or data.get("signed_files")
    return rows if isinstance(rows, list) and rows else None


def _signatures(rows: Sequence[Any], order: Order) -> dict[UUID, bytes | Declined] | None:
    return wire.signatures_by_id(rows, order, name="doc_id", value="signature_value")


def _credentials(data: Any) -> list[Credential] | None:
    """The certificates of an answer; None where it does not have the known form."""
    rows = data.get("user_certificates") if isinstance(data, dict) else None
    if not isinstance(rows, list):
        return None
    found = []
    for row in rows[:MOST_CERTIFICATES]:
        der = wire.certificate(row.get("cert_data")) if isinstance(row, dict) else None
        if der is None:
            return None
        if row.get("service_type") == "ESEAL":
            continue  # the organisation's, which no person confirms
        chain = row.get("chain_data")
        above = (
            [chain.get(one) for one in ("ca_cert", "root_cert")] if isinstance(chain, dict) else []
        )
        found.append(
            Credential(
                certificate=der,
                serial_number=wire.text(row.get("serial_number")) or wire.serial_number(der),
                transaction_id=wire.text(row.get("transaction_id")),
                chain=wire.certificates([one for one in above if one is not None]) or (),
            )
        )
    return found
