"""What both versions of the CSC API share: the session, credentials, errors.

Source: the Cloud Signature Consortium's "Architectures and protocols for remote signature
applications", v1.0.4.0 and v2, and public programs that speak it. Nearly every error there is
``invalid_request``, so that the description is what tells anything.

No PIN, OTP or password of a person passes through here: only credentials whose holder confirms to
the provider itself (on the phone) can be used.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import httpx
from pydantic import SecretStr

from signature_connector.domain.provider import (
    Credential,
    Credentials,
    Declined,
    Order,
    Outcome,
    Reply,
    Unavailable,
)
from signature_connector.providers import wire
from signature_connector.providers.algorithms import HASH_OIDS, SIGNATURE_OIDS, parameters
from signature_connector.providers.sessions import (
    Authorised,
    LoginFailed,
    Session,
    Sessions,
    seconds_of,
)
from signature_connector.providers.wire import MOST_CERTIFICATES, Answer, Line

_NO_REFUSALS = frozenset({"server_error", "temporarily_unavailable"})
_TRY_LATER = frozenset({408, 425, 429})
_LONGEST_DESCRIPTION = 250
_LONGEST_SECRET = 16 * 1024


@dataclass(frozen=True, slots=True)
class CscAccount:
    """How the service is let in.

    Attributes:
        login: ``client_credentials`` (OAuth 2.0, RFC 6749 §4.4) or ``basic`` (``auth/login``).
        token_path: of OAuth 2.0, below the base URL or a whole address.
    """

    client_id: str
    client_secret: SecretStr
    login: Literal["client_credentials", "basic"] = "client_credentials"
    token_path: str = "oauth2/token"


class CscService:
    """Calls of one account.

    Args:
        seconds: how long a call may take that waits for nobody.
    """

    def __init__(self, line: Line, account: CscAccount, seconds: float) -> None:
        self._line = line
        self._account = account
        self.seconds = seconds
        self._calls = Authorised(line, Sessions(self._login))

    async def post(
        self, path: str, wanted: Mapping[str, Any], *, seconds: float = 0, again: bool = False
    ) -> Answer:
        """POST under the account's session.

        Raises:
            LoginFailed: there is none.
            Exception: as ``Line.post``.
        """
        return await self._calls.post(path, wanted, seconds=seconds or self.seconds, again=again)

    def reply(self, answer: Answer, *hidden: str) -> Reply:
        """What was said; ``hidden``: the person's number, SAD and handles."""
        told = answer.fields
        return wire.reply(
            told.get("error"),
            told.get("error_description"),
            told.get("responseID"),
            hidden=[*hidden, self._account.client_secret.get_secret_value()],
        )

    async def credentials(
        self,
        user: str,
        wanted: Mapping[str, Any],
        usable: Callable[[Mapping[str, Any]], bool],
    ) -> Credentials | Declined | Unavailable:
        """``credentials/list``, and ``credentials/info`` where the list tells no more than ids.

        Args:
            wanted: members of the list call.
            usable: whether the holder can confirm with us knowing nothing secret.
        """
        try:
            async with asyncio.timeout(self.seconds):
                answer = await self.post("credentials/list", {"userID": user, **wanted})
                reply = self.reply(answer, user)
                listed = _listed(answer)
                if listed is None:
                    table = wire.clear_answers("csc", "credentials")
                    meant = wire.declined(wire.meaning(table, reply.code, reply.message), reply)
                    no = meant if not answer.broken else None
                    return no or Unavailable(why(answer, reply), reply, answer.pause)
                rows = [
                    row if row.keys() > {"credentialID"} else await self._info(row)
                    for row in listed
                ]
        except LoginFailed as failed:
            return Unavailable(f"login: {failed.reason}", failed.reply, failed.pause)
        except Exception as error:  # whatever the network, or bytes that are no HTTP, raise
            return Unavailable(wire.kind(error))
        return _found(rows, usable, reply)

    async def _info(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        wanted = {**row, "certificates": "chain", "certInfo": True, "authInfo": True}
        answer = await self.post("credentials/info", wanted)
        return {**answer.fields, **row} if answer.status == httpx.codes.OK else row

    async def _login(self, who: str) -> Session:
        account, secret = self._account, self._account.client_secret.get_secret_value()
        try:
            if account.login == "basic":
                pair = wire.base64_text(f"{account.client_id}:{secret}".encode())
                answer = await self._line.post(
                    "auth/login",
                    {"rememberMe": False},
                    seconds=self.seconds,
                    headers={"Authorization": f"Basic {pair}"},
                )
            else:
                answer = await self._line.post(
                    account.token_path,
                    {
                        "grant_type": "client_credentials",
                        "scope": "service",
                        "client_id": account.client_id,
                        "client_secret": secret,
                    },
                    seconds=self.seconds,
                    form=True,
                )
        except Exception as error:
            raise LoginFailed(wire.kind(error)) from None
        token = wire.identifier(answer.fields.get("access_token"), longest=_LONGEST_SECRET)
        if answer.status != httpx.codes.OK or not token:
            reply = self.reply(answer)
            raise LoginFailed(why(answer, reply), reply, answer.pause)
        return Session(token, seconds_of(answer.fields.get("expires_in")))


def refusal(answer: Answer, reply: Reply) -> Declined | None:
    """A refusal of ``credentials/authorize`` or ``signatures/signHash``: an error of the API with
    a status of 4xx. No SAD or no signature was given out, and without them none exists, whatever
    the error is; the table tells a person's refusal from the rest."""
    named = isinstance(answer.fields.get("error"), str) and reply.code not in _NO_REFUSALS
    if not named or not 400 <= answer.status < 500 or answer.status in _TRY_LATER:
        return None
    table = wire.clear_answers("csc", "signing")
    failed: Outcome = "failed"
    known = wire.declined(wire.meaning(table, reply.code, reply.message), reply)
    return known or Declined(failed, reply)


def secret(answer: Answer, name: str) -> str:
    """A SAD or a handle; empty where there is none."""
    return wire.identifier(answer.fields.get(name), longest=_LONGEST_SECRET)


def description(order: Order) -> str:
    """What the person reads: the ids to be compared, and the first document's name."""
    ids = ", ".join(str(paper.request_id) for paper in order.papers)
    return f"{order.papers[0].name[:100]} ({ids})"[:_LONGEST_DESCRIPTION]


def algorithms(order: Order, hash_member: str) -> dict[str, str]:
    """The members that name the algorithms."""
    named = {
        hash_member: HASH_OIDS[order.digest_algorithm],
        "signAlgo": SIGNATURE_OIDS[order.mechanism, order.digest_algorithm],
    }
    given = parameters(order)
    return named if given is None else {**named, "signAlgoParams": wire.base64_text(given)}


def hashes(order: Order) -> list[str]:
    """The papers' digests in base64, in their order."""
    return [wire.base64_text(digest) for digest in wire.digests(order)]


def why(answer: Answer, reply: Reply) -> str:
    """The reason for which an answer was of no use."""
    return f"code {reply.code}" if reply.code and not answer.broken else f"HTTP {answer.status}"


def _listed(answer: Answer) -> Sequence[Mapping[str, Any]] | None:
    """What a list tells of each credential: all of it, or its id alone; None for no list."""
    told = answer.fields
    ids, infos = told.get("credentialIDs"), told.get("credentialInfos")
    if answer.status != httpx.codes.OK or not isinstance(ids, list):
        return None
    if isinstance(infos, list) and infos:
        return [row for row in infos[:MOST_CERTIFICATES] if isinstance(row, dict)]
    named = [wire.identifier(one) for one in ids[:MOST_CERTIFICATES]]
    return [{"credentialID": one} for one in named if one]


def _found(
    rows: Sequence[Mapping[str, Any]],
    usable: Callable[[Mapping[str, Any]], bool],
    reply: Reply,
) -> Credentials | Declined | Unavailable:
    found = []
    closed = False
    for row in rows:
        key, cert = row.get("key"), row.get("cert")
        chain = wire.certificates(cert.get("certificates")) if isinstance(cert, dict) else None
        credential_id = wire.identifier(row.get("credentialID"))
        if not isinstance(cert, dict) or not chain or not credential_id:
            return Unavailable("answer not understood", reply)
        if isinstance(key, dict) and key.get("status") == "disabled":
            continue
        if not usable(row):
            closed = True
            continue
        serial = wire.text(cert.get("serialNumber")) or wire.serial_number(chain[0])
        found.append(Credential(chain[0], serial, credential_id, chain[1:]))
    if closed and not found:
        return Declined("failed", Reply(code="authMode", message="needs a secret of the person"))
    return Credentials(found, reply)
