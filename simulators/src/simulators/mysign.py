"""Viettel MySign.

Known (public programs, a report on the vendor's document): the paths, fields and status codes, a
session of an hour for each user, that signatures stand in the order of the hashes, names in ASCII
base64 below 100 characters, the callback's fields. Own choice: the form of errors (`error` and
`error_description`, HTTP 400), 404 for an unknown transaction, and that any prefix of a user's name
is taken.
"""

import re
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from simulators.books import Entry
from simulators.faults import Answer, Call, Kind, Proceed, Reply, Rule
from simulators.hashes import (
    HASH_OIDS,
    SIGNATURE_OIDS,
    HashService,
    Order,
    Refused,
    chain_of,
    digest_of,
    required,
)
from simulators.pki import kind_of_user
from simulators.wire import as_answer

CA_NAME = "Viettel-CA"
_PATHS = {
    "/vtss/service/ras/v1/login": "login",
    "/vtss/service/certificates/info": "certificates",
    "/vtss/service/signHash": "signHash",
    "/vtss/service/requests/status": "status",
}


class MySign(HashService):
    """The program.

    Parameters:
        accounts: client_id and client_secret that are let in; none: any.
    """

    name = "mysign"
    side_by_side = True

    def __init__(self, *given: Any, accounts: Mapping[str, str] | None = None, **more: Any) -> None:
        self._accounts = accounts
        self.tokens: dict[str, str] = {}
        super().__init__(*given, **more)

    def service_of(self, path: str, payload: Mapping[str, Any]) -> str | None:
        return _PATHS.get(path)

    async def serve(self, service: str, call: Call, entry: Entry) -> Answer:
        payload = call.payload or {}
        if service != "status":
            self._check_caller(payload)
        if service == "login":
            user = _user(required(payload, "user_id", str))
            token = uuid4().hex
            self.tokens[token] = user
            told = {"access_token": token, "refresh_token": "", "token_type": "Bearer"}
            return self.accepted(entry, {**told, "expires_in": "3600"})
        given = call.headers.get(b"authorization", b"").decode().removeprefix("Bearer ")
        user = self.tokens.get(given, "")
        if not user:
            raise Refused(59033, "user ID or password is invalid", 401)
        if service == "certificates":
            return self._certificates(user, entry)
        if service == "signHash":
            return self._sign_hash(user, payload, call, entry)
        return self._status(payload, call, entry)

    def _check_caller(self, payload: Mapping[str, Any]) -> None:
        given = required(payload, "client_id", str), required(payload, "client_secret", str)
        if self._accounts is not None and self._accounts.get(given[0]) != given[1]:
            raise Refused(86024, "Client secret is invalid", 400)

    def _certificates(self, user: str, entry: Entry) -> Answer:
        person = self.pki.person(CA_NAME, user)
        cert = {"status": "valid", "certificates": chain_of(person), "serialNumber": person.serial}
        row = {
            "key": {"status": "enabled", "algo": ["1.2.840.113549.1.1.1"], "len": "2048"},
            "cert": cert,
            "authMode": "implicit",
            "multisign": "2147483647",
            "credential_id": f"{user}_{person.serial[:8]}",
            "scal": "2",
        }
        return self.accepted(entry, [row])

    def _sign_hash(self, user: str, payload: Mapping[str, Any], call: Call, entry: Entry) -> Answer:
        if not required(payload, "credentialID", str).startswith(f"{user}_"):
            raise Refused(58008, "credentialID", 400)
        hashes = [digest_of(one) for one in required(payload, "hash", list)]
        papers = required(payload, "documents", list)
        if not len(hashes) == len(papers) == payload.get("numSignatures"):
            raise Refused(400, "numSignatures", 400)
        if any(len(one["document_name"]) >= 100 for one in papers):
            raise Refused(400, "document_name", 400)
        algorithm = HASH_OIDS.get(payload.get("hashAlgo", ""))
        mechanism = SIGNATURE_OIDS.get(payload.get("signAlgo", ""))
        if algorithm is None or mechanism is None or payload.get("async") not in (1, 2, 3):
            raise Refused(400, "hashAlgo, signAlgo, async", 400)
        documents = [[one["document_id"], h] for one, h in zip(papers, hashes, strict=True)]
        if call.switches.get("quota"):
            self.turn_away(user, documents, entry)
            raise Refused(4005, "Tài khoản hết lượt ký", 400)
        order = Order(str(uuid4()), "", user, CA_NAME, documents, algorithm, mechanism)
        self.begin(order, call, entry)
        return as_answer({"transactionId": order.id})

    def _status(self, payload: Mapping[str, Any], call: Call, entry: Entry) -> Answer:
        order = self.orders.get(required(payload, "transactionId", str))
        if order is None or call.switches.get("unknown"):
            raise Refused(404, "transactionId", 404)
        self.settle(order, entry)
        if order.outcome == "waiting":
            return self.accepted(entry, {"signatures": None, "status": "4000"})
        if order.outcome == "signed":
            return self.accepted(entry, {"signatures": order.signatures, "status": "1"})
        told = {"signatures": None, "status": str(order.told[0]), "description": order.told[1]}
        return self.accepted(entry, told)

    def notification(self, order: Order) -> dict[str, Any]:
        results = [
            {"document_id": doc_id, "signature": value}
            for (doc_id, _), value in zip(order.documents, order.signatures, strict=False)
        ]
        status = "1" if order.outcome == "signed" else "4000"
        about = {"request_id": f"V_{order.id}", "transaction_id": order.id, "status": status}
        return {"meta_data": about, "data": {"results": results}}

    def kinds(self) -> dict[str, Kind]:
        return {**super().kinds(), "session_lost": Kind(self._lose_sessions)}

    async def _lose_sessions(self, rule: Rule, call: Call, proceed: Proceed) -> Reply:
        self.tokens.clear()
        return await proceed()

    def forget_all(self) -> None:
        self.tokens.clear()
        super().forget_all()

    def refusal(self, refused: Refused) -> Answer:
        told = {"error": refused.code, "error_description": refused.message}
        return as_answer(told, refused.status)


def _user(name: str) -> str:
    number = re.sub(r"^[A-Z]{3}_", "", name)
    if kind_of_user(number) is None:
        raise Refused(58008, "User ID does not exist", 400)
    return number
