"""Viettel MySign: a session for each person, hashes in base64, the outcome is polled.

Known from several public programs and one report on the vendor's document (v1.8): the paths, fields
and status codes, that a session belongs to one user and lives an hour, that signatures stand in the
order of the hashes, that names must be ASCII and short. ``async`` 0 waits for the person, 1 and 2
are polled, 3 calls back; 1 is used here, and 3 may be configured. Errors were seen as ``{"error":
number, "error_description": text}``.

The credential's id was seen to begin with the person's number.
"""

import re
import unicodedata
from dataclasses import dataclass
from typing import Any, Literal

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
from signature_connector.providers.algorithms import HASH_OIDS, SIGNATURE_OIDS
from signature_connector.providers.sessions import (
    Authorised,
    LoginFailed,
    Session,
    Sessions,
    seconds_of,
)
from signature_connector.providers.wire import MOST_CERTIFICATES, Answer, Line

DONE = "1"
_LONGEST_NAME = 72  # so that its base64 stays below 100
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_\- ]+")
_TAX_CODE = re.compile(r"\d{10}(-\d{3})?")


@dataclass(frozen=True, slots=True)
class MySignAccount:
    """What Viettel gave the application.

    Attributes:
        citizen_prefix, tax_prefix: before a number, as the user's name at MySign is made of it
            (``CMT_`` and ``MST_`` were seen, and bare numbers too).
    """

    client_id: str
    client_secret: SecretStr
    profile_id: str
    citizen_prefix: str = ""
    tax_prefix: str = ""


class MySign:
    """The adapter.

    Args:
        name: what the operator calls it.
        call_seconds: how long a call may take; none of them waits for the person.
        mode: ``async`` of the signing call: 1 or 2 (polled), 3 (MySign calls back as well).
        most: documents in one order.
        mechanisms: how keys there sign. PKCS#1 v1.5 alone was seen.
    """

    def __init__(
        self,
        line: Line,
        account: MySignAccount,
        *,
        name: str = "mysign",
        call_seconds: float = 20.0,
        mode: Literal[1, 2, 3] = 1,
        most: int = 10,
        mechanisms: tuple[str, ...] = ("rsassa_pkcs1v15",),
    ) -> None:
        self.name = name
        self.abilities = Abilities(
            signs="hashes", waits=False, confirms="accepted", most=most, mechanisms=mechanisms
        )
        self._line = line
        self._account = account
        self._seconds = call_seconds
        self._mode = mode
        self._calls = Authorised(line, Sessions(self._login))
        self._tables = {
            call: wire.clear_answers("mysign", call)
            for call in ("certificates", "signing", "status")
        }

    async def credentials(self, user: str, ca_name: str) -> Credentials | Declined | Unavailable:
        """``certificates/info``."""
        who = self._user(user)
        wanted = {
            **self._caller(),
            "profile_id": self._account.profile_id,
            "user_id": who,
            "certificates": "chain",
            "certInfo": True,
            "authInfo": True,
        }
        try:
            answer = await self._calls.post(
                "vtss/service/certificates/info", wanted, who=who, seconds=self._seconds
            )
        except LoginFailed as failed:
            meant = wire.declined(
                wire.meaning(self._tables["certificates"], failed.reply.code), failed.reply
            )
            return meant or Unavailable(f"login: {failed.reason}", failed.reply, failed.pause)
        except Exception as error:  # whatever the network, or bytes that are no HTTP, raise
            return Unavailable(wire.kind(error))
        reply = self._reply(answer, user)
        meant = wire.declined(wire.meaning(self._tables["certificates"], reply.code), reply)
        if meant is not None and not answer.broken:
            return meant
        found = None if answer.broken else _credentials(answer.told)
        if found is None:
            return Unavailable(_why(answer, reply), reply, answer.pause)
        return Credentials(found, reply)

    async def submit(self, order: Order) -> Signed | Accepted | Declined | NeverSent | Unclear:
        """``signHash``: MySign asks the person."""
        if (unfit := wire.unfit(order, self.abilities)) is not None:
            return unfit
        try:
            answer = await self._calls.post(
                "vtss/service/signHash",
                self._order(order),
                who=self._user(order.user),
                seconds=self._seconds,
            )
        except LoginFailed as failed:
            return failed.fate()
        except Exception as error:  # whatever the network, or bytes that are no HTTP, raise
            return wire.fate(error)
        told = answer.fields
        reply = self._reply(answer, order.user)
        if answer.broken:
            return Unclear(f"HTTP {answer.status}", reply)
        transaction = wire.identifier(told.get("transactionId"))
        signatures = told.get("signatures")
        meant = wire.declined(wire.meaning(self._tables["signing"], reply.code), reply)
        if meant is not None and not transaction and not signatures:
            return meant
        if answer.status >= 300 or reply.code not in {None, "0", DONE}:
            return Unclear(_why(answer, reply), reply)
        if signatures:
            found = wire.signatures_in_order(signatures, order)
            return Signed(found, reply) if found else Unclear("no signature", reply)
        return Accepted(transaction, reply) if transaction else Unclear("no transaction", reply)

    async def status(
        self, order: Order, submission: str | None
    ) -> Signed | Pending | Declined | NotKnown | Unavailable:
        """``requests/status``. There is no asking by our own id."""
        if not submission:
            return Unavailable("no transaction to ask by")
        try:
            answer = await self._calls.post(
                "vtss/service/requests/status",
                {"transactionId": submission},
                who=self._user(order.user),
                seconds=self._seconds,
                again=True,
            )
        except LoginFailed as failed:
            return Unavailable(f"login: {failed.reason}", failed.reply, failed.pause)
        except Exception as error:  # whatever the network, or bytes that are no HTTP, raise
            return Unavailable(wire.kind(error))
        reply = self._reply(answer, order.user)
        if answer.broken:
            return Unavailable(f"HTTP {answer.status}", reply, answer.pause)
        return self._become(answer, order, reply)

    def _become(
        self, answer: Answer, order: Order, reply: Reply
    ) -> Signed | Pending | Declined | NotKnown | Unavailable:
        signatures = answer.fields.get("signatures")
        if reply.code == DONE:
            found = wire.signatures_in_order(signatures, order)
            return Signed(found, reply) if found else Unavailable("answer not understood", reply)
        if signatures:
            return Unavailable("answer contradicts itself", reply)
        meant = wire.meaning(self._tables["status"], reply.code)
        if meant == "waiting":
            return Pending(reply, answer.pause)
        if meant == "not-known":
            return NotKnown(reply)
        no = wire.declined(meant, reply)
        return no or Unavailable(_why(answer, reply), reply, answer.pause)

    def called(self, body: bytes) -> Called:
        """The callback of ``async`` 3 names MySign's transaction."""
        told = wire.decoded_json(body)
        about = told.get("meta_data") if isinstance(told, dict) else None
        transaction = (
            wire.identifier(about.get("transaction_id")) if isinstance(about, dict) else ""
        )
        if not transaction:
            raise Unreadable("no transaction")
        return Called(submission=transaction)

    async def _login(self, who: str) -> Session:
        account = self._account
        wanted = {**self._caller(), "profile_id": account.profile_id, "user_id": who}
        try:
            answer = await self._line.post(
                "vtss/service/ras/v1/login", wanted, seconds=self._seconds
            )
        except Exception as error:
            raise LoginFailed(wire.kind(error)) from None
        token = wire.identifier(answer.fields.get("access_token"), longest=16 * 1024)
        if answer.status >= 300 or not token:
            reply = self._reply(answer, who)
            raise LoginFailed(_why(answer, reply), reply, answer.pause)
        return Session(token, seconds_of(answer.fields.get("expires_in")))

    def _caller(self) -> dict[str, str]:
        return {
            "client_id": self._account.client_id,
            "client_secret": self._account.client_secret.get_secret_value(),
        }

    def _user(self, user: str) -> str:
        if _TAX_CODE.fullmatch(user):
            return self._account.tax_prefix + user
        return self._account.citizen_prefix + user

    def _order(self, order: Order) -> dict[str, Any]:
        digests = wire.digests(order)
        documents = [
            {
                "document_id": str(paper.request_id),
                "document_name": wire.base64_text(plain_name(paper.name).encode()),
            }
            for paper in order.papers
        ]
        return {
            **self._caller(),
            "credentialID": order.credential.transaction_id,
            "numSignatures": len(digests),
            "documents": documents,
            "hash": [wire.base64_text(digest) for digest in digests],
            "hashAlgo": HASH_OIDS[order.digest_algorithm],
            "signAlgo": SIGNATURE_OIDS[order.mechanism, order.digest_algorithm],
            "async": self._mode,
        }

    def _reply(self, answer: Answer, user: str) -> Reply:
        told = answer.fields
        return wire.reply(
            told.get("status", told.get("error")),
            told.get("description", told.get("error_description")),
            told.get("transactionId"),
            hidden=[self._user(user), user, self._account.client_secret.get_secret_value()],
        )


def plain_name(document_name: str) -> str:
    """A document's name in the letters that MySign takes, and short enough."""
    spread = unicodedata.normalize("NFD", document_name.replace("đ", "d").replace("Đ", "D"))
    letters = "".join(one for one in spread if not unicodedata.combining(one))
    return _NOT_IN_NAMES.sub(" ", letters).strip()[:_LONGEST_NAME] or "document"


def _why(answer: Answer, reply: Reply) -> str:
    if reply.code:
        return f"code {reply.code}"
    return f"HTTP {answer.status}" if answer.status >= 300 else "answer not understood"


def _credentials(told: Any) -> list[Credential] | None:
    """The certificates of an answer; None where it does not have the known form."""
    if not isinstance(told, list):
        return None
    found = []
    for row in told[:MOST_CERTIFICATES]:
        given = row.get("cert") if isinstance(row, dict) else None
        chain = wire.certificates(given.get("certificates")) if isinstance(given, dict) else None
        credential_id = wire.identifier(row.get("credential_id")) if isinstance(row, dict) else ""
        if not chain or not credential_id:
            return None
        key = row.get("key")
        if isinstance(key, dict) and key.get("status") == "disabled":
            continue
        # The form of ``serialNumber`` was not found; the certificate knows.
        found.append(Credential(chain[0], wire.serial_number(chain[0]), credential_id, chain[1:]))
    return found
