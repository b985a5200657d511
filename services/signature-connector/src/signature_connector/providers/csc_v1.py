"""CSC API v1.0.4.0: the person confirms while ``credentials/authorize`` waits, then the SAD is
turned into signatures at once.

Nothing can be asked afterwards: neither an authorisation nor a signature has an id. An answer that
is lost leaves open whether the person confirmed; that no SAD came back means that nothing was
signed, but asking again would ask the person again.
"""

from collections.abc import Mapping
from typing import Any

from signature_connector.domain.provider import (
    Abilities,
    Called,
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
from signature_connector.providers import csc, wire
from signature_connector.providers.csc import CscAccount, CscService
from signature_connector.providers.sessions import LoginFailed
from signature_connector.providers.wire import Line

_TRIES = 3


class CscV1:
    """The adapter.

    Args:
        name: what the operator calls it.
        call_seconds: how long a call may take that waits for nobody.
        user_seconds: how long the person may take to confirm.
        most: documents in one order; more than the credential's ``multisign`` are refused.
        mechanisms: how keys there sign, by preference.
    """

    def __init__(
        self,
        line: Line,
        account: CscAccount,
        *,
        name: str = "csc-v1",
        call_seconds: float = 20.0,
        user_seconds: float = 330.0,
        most: int = 10,
        mechanisms: tuple[str, ...] = ("rsassa_pss", "ecdsa", "rsassa_pkcs1v15"),
    ) -> None:
        self.name = name
        self.abilities = Abilities(
            signs="hashes", waits=True, confirms="nothing", most=most, mechanisms=mechanisms
        )
        self._service = CscService(line, account, call_seconds)
        self._user_seconds = user_seconds

    async def credentials(self, user: str, ca_name: str) -> Credentials | Declined | Unavailable:
        """``credentials/list`` and ``credentials/info``; those with ``authMode`` ``implicit``."""
        return await self._service.credentials(user, {}, _implicit)

    async def submit(self, order: Order) -> Signed | Declined | NeverSent | Unclear:
        """``credentials/authorize``, which waits for the person, and ``signatures/signHash``."""
        if (unfit := wire.unfit(order, self.abilities)) is not None:
            return unfit
        wanted = {
            "credentialID": order.credential.transaction_id,
            "numSignatures": len(order.papers),
            "hash": csc.hashes(order),
            "description": csc.description(order),
            "clientData": str(order.outgoing_id),
        }
        try:
            answer = await self._service.post(
                "credentials/authorize", wanted, seconds=self._user_seconds
            )
        except LoginFailed as failed:
            return failed.fate()
        except Exception as error:  # whatever the network, or bytes that are no HTTP, raise
            return wire.fate(error)
        reply = self._service.reply(answer, order.user)
        sad = csc.secret(answer, "SAD") if answer.status == 200 else ""
        if not sad:
            no = csc.refusal(answer, reply)
            return no or Unclear(csc.why(answer, reply), reply)
        return await self._sign(order, sad)

    async def _sign(self, order: Order, sad: str) -> Signed | Declined | Unclear:
        """The person has confirmed: from here on nothing may count as never sent."""
        wanted = {
            "credentialID": order.credential.transaction_id,
            "SAD": sad,
            "hash": csc.hashes(order),
            **csc.algorithms(order, "hashAlgo"),
            "clientData": str(order.outgoing_id),
        }
        last = Unclear("no answer")
        for _ in range(_TRIES):
            try:
                answer = await self._service.post("signatures/signHash", wanted)
            except LoginFailed as failed:
                return Unclear(f"login: {failed.reason}", failed.reply)
            except Exception as error:  # whatever the network, or bytes that are no HTTP, raise
                told = wire.fate(error)
                if isinstance(told, Unclear):
                    return told
                last = Unclear(told.reason)  # not a byte has left: the SAD is still good
                continue
            reply = self._service.reply(answer, order.user, sad)
            no = csc.refusal(answer, reply)
            if no is not None:
                return no
            if answer.status != 200:
                return Unclear(csc.why(answer, reply), reply)
            found = wire.signatures_in_order(answer.fields.get("signatures"), order)
            return Signed(found, reply) if found else Unclear("no signature", reply)
        return last

    async def status(self, order: Order, submission: str | None) -> Unavailable:
        """There is no call for it."""
        return Unavailable("no status call", Reply())

    def called(self, body: bytes) -> Called:
        """Nobody calls back."""
        raise Unreadable("CSC v1 has no callbacks")


def _implicit(row: Mapping[str, Any]) -> bool:
    return row.get("authMode") == "implicit"
