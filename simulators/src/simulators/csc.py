"""Remote signing services that speak the CSC API, v1.0.4.0 and v2.

Known (the published specification): the calls, their fields, the errors. Own choice: that a
person's refusal is told by `access_denied` and a time that ran out by `SAD expired`, that any
client is let in where none is named, that documents go by their hashes in the books (the API has no
ids), how long a signature takes in asynchronous mode. Nothing is posted to a `response_uri`.
"""

import asyncio
import base64
import time
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl
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

CA_NAME = "FPT-CA"
_CALLS = (
    *("oauth2/token", "auth/login", "credentials/list", "credentials/info"),
    *("credentials/authorize", "credentials/authorizeCheck"),
    *("signatures/signHash", "signatures/signPolling"),
)
_BY_SIZE = {32: "sha256", 48: "sha384", 64: "sha512"}


class Csc(HashService):
    """What both versions have in common.

    Parameters:
        accounts: client_id and client_secret that are let in; none: any.
    """

    version = 1
    hashes, hash_algorithm = "hash", "hashAlgo"

    def __init__(self, *given: Any, accounts: Mapping[str, str] | None = None, **more: Any) -> None:
        self._accounts = accounts
        self.tokens: set[str] = set()
        self.sads: dict[str, str] = {}
        super().__init__(*given, **more)

    def payload_of(self, body: bytes) -> dict[str, Any] | None:
        told = super().payload_of(body)
        return dict(parse_qsl(body.decode("utf-8", "replace"))) if told is None else told

    def service_of(self, path: str, payload: Mapping[str, Any]) -> str | None:
        return path[1:].rpartition("/")[2] if path[1:] in _CALLS else None

    async def serve(self, service: str, call: Call, entry: Entry) -> Answer:
        payload = call.payload or {}
        if service in ("token", "login"):
            return self._session(payload, entry)
        given = call.headers.get(b"authorization", b"").decode().removeprefix("Bearer ")
        if given not in self.tokens:
            raise Refused("invalid_token", "The access token is not valid", 401)
        match service:
            case "list":
                return self._list(payload, entry)
            case "info":
                user = _user(payload)
                return self.accepted(entry, self._credential(user))
            case "authorize":
                return await self.authorize(payload, call, entry)
            case "signHash":
                return self.sign_hash(payload, call, entry)
        return await self.more(service, payload, call, entry)

    def _session(self, payload: Mapping[str, Any], entry: Entry) -> Answer:
        pair = payload.get("client_id", ""), payload.get("client_secret")
        if self._accounts is not None and self._accounts.get(pair[0]) != pair[1]:
            raise Refused("invalid_client", "The client is not known", 401)
        token = uuid4().hex
        self.tokens.add(token)
        return self.accepted(entry, {"access_token": token, "expires_in": 3600})

    def _list(self, payload: Mapping[str, Any], entry: Entry) -> Answer:
        user = str(payload.get("userID"))
        if kind_of_user(user) is None:
            raise Refused("invalid_request", "Invalid parameter userID", 400)
        told: dict[str, Any] = {"credentialIDs": [f"C-{user}"]}
        if self.version == 2 and payload.get("credentialInfo"):
            told["credentialInfos"] = [{"credentialID": f"C-{user}", **self._credential(user)}]
        return self.accepted(entry, told)

    def _credential(self, user: str) -> dict[str, Any]:
        person = self.pki.person(CA_NAME, user)
        cert = {"status": "valid", "certificates": chain_of(person), "serialNumber": person.serial}
        told = {"key": {"status": "enabled", "algo": sorted(SIGNATURE_OIDS)}, "cert": cert}
        way = (
            {"authMode": "implicit"}
            if self.version == 1
            else {"auth": {"mode": "explicit", "objects": []}}
        )
        return {**told, **way, "SCAL": "2", "multisign": 20}

    def ask(
        self, payload: Mapping[str, Any], call: Call, entry: Entry
    ) -> tuple[Order, asyncio.Task[None]]:
        """Ask the person to let hashes be signed; the order, and what ends with the decision."""
        digests = [digest_of(one) for one in required(payload, self.hashes, list)]
        if payload.get("numSignatures") != len(digests):
            raise Refused("invalid_request", "Invalid value for parameter numSignatures", 400)
        documents = [[digest, digest] for digest in digests]
        if len(digests) > 20 or call.switches.get("quota"):
            self.turn_away(_user(payload), documents, entry)
            raise Refused("invalid_request", "Numbers of signatures is too high", 400)
        algorithm = _BY_SIZE.get(len(digests[0]) // 2)
        if algorithm is None or len({len(one) for one in digests}) != 1:
            raise Refused("invalid_request", "Invalid digest value length", 400)
        order = Order(uuid4().hex, "", _user(payload), CA_NAME, documents, algorithm)
        task = self.begin(order, call, entry)
        return self.orders[order.id], task

    def decided(self, order: Order) -> str:
        """The SAD of an order that the person let through; raises Refused."""
        if order.outcome == "refused":
            raise Refused("access_denied", "The user denied the request", 400)
        if order.outcome != "signed":
            raise Refused("invalid_request", "SAD expired", 400)
        sad = uuid4().hex
        self.sads[sad] = order.id
        return sad

    def checked(self, payload: Mapping[str, Any]) -> Order:
        """The order that a signing call has the SAD of, with the algorithms asked for."""
        order = self.orders.get(self.sads.pop(required(payload, "SAD", str), ""))
        if order is None:
            raise Refused("invalid_request", "Invalid parameter SAD", 400)
        digests = [digest_of(one) for one in required(payload, self.hashes, list)]
        if digests != [digest for _, digest in order.documents]:
            raise Refused("invalid_request", "Hash is not authorized by the SAD", 400)
        algorithm = HASH_OIDS.get(payload.get(self.hash_algorithm, ""))
        mechanism = SIGNATURE_OIDS.get(payload.get("signAlgo", ""))
        if algorithm is None or mechanism is None:
            raise Refused("invalid_request", "Invalid parameter signAlgo", 400)
        if mechanism == "rsassa_pss" and not payload.get("signAlgoParams"):
            raise Refused("invalid_request", "Missing string parameter signAlgoParams", 400)
        order.algorithm, order.mechanism = algorithm, mechanism
        return order

    def signatures(self, order: Order) -> list[str]:
        """Raw signatures by the algorithms asked for at last."""
        raw = [self._sign(order, bytes.fromhex(digest)) for _, digest in order.documents]
        return [base64.b64encode(one).decode() for one in raw]

    @abstractmethod
    async def authorize(self, payload: Mapping[str, Any], call: Call, entry: Entry) -> Answer:
        """`credentials/authorize`."""

    @abstractmethod
    def sign_hash(self, payload: Mapping[str, Any], call: Call, entry: Entry) -> Answer:
        """`signatures/signHash`."""

    async def more(
        self, service: str, payload: Mapping[str, Any], call: Call, entry: Entry
    ) -> Answer:
        """Calls of one version alone."""
        raise Refused("invalid_request", "Unimplemented method requested", 501)

    def kinds(self) -> dict[str, Kind]:
        return {**super().kinds(), "session_lost": Kind(self._lose_sessions)}

    async def _lose_sessions(self, rule: Rule, call: Call, proceed: Proceed) -> Reply:
        self.tokens.clear()
        return await proceed()

    def forget_all(self) -> None:
        self.tokens.clear()
        self.sads.clear()
        super().forget_all()

    def refusal(self, refused: Refused) -> Answer:
        code = refused.code if isinstance(refused.code, str) else "invalid_request"
        told = {"error": code, "error_description": refused.message}
        return as_answer(told, refused.status if refused.status != 200 else 400)


class CscV1(Csc):
    """v1.0.4.0: `credentials/authorize` waits for the person."""

    name = "csc-v1"

    async def authorize(self, payload: Mapping[str, Any], call: Call, entry: Entry) -> Answer:
        order, decision = self.ask(payload, call, entry)
        await asyncio.shield(decision)
        return as_answer({"SAD": self.decided(order), "expiresIn": 300})

    def sign_hash(self, payload: Mapping[str, Any], call: Call, entry: Entry) -> Answer:
        return self.accepted(entry, {"signatures": self.signatures(self.checked(payload))})


class CscV2(Csc):
    """v2: `credentials/authorize` gives a handle, signatures are made asynchronously.

    Parameters:
        sign_ms: how long a signature takes, milliseconds.
    """

    name = "csc-v2"
    version = 2
    hashes, hash_algorithm = "hashes", "hashAlgorithmOID"

    def __init__(self, *given: Any, sign_ms: float = 20, **more: Any) -> None:
        self._sign_seconds = sign_ms / 1000
        self.signing: dict[str, tuple[float, Order]] = {}
        super().__init__(*given, **more)

    async def authorize(self, payload: Mapping[str, Any], call: Call, entry: Entry) -> Answer:
        order, _ = self.ask(payload, call, entry)
        return as_answer({"handle": order.id}, 202)

    def sign_hash(self, payload: Mapping[str, Any], call: Call, entry: Entry) -> Answer:
        order = self.checked(payload)
        if payload.get("operationMode") != "A":
            return self.accepted(entry, {"signatures": self.signatures(order)})
        response = uuid4().hex
        self.signing[response] = (time.monotonic() + self._sign_seconds, order)
        return self.accepted(entry, {"responseID": response})

    async def more(
        self, service: str, payload: Mapping[str, Any], call: Call, entry: Entry
    ) -> Answer:
        if service == "authorizeCheck":
            order = self.orders.get(required(payload, "handle", str))
            if order is None:
                raise Refused("invalid_request", "Invalid parameter handle", 400)
            if order.outcome == "waiting":
                return self.accepted(entry, {"handle": order.id}, 202)
            return self.accepted(entry, {"SAD": self.decided(order)})
        found = self.signing.get(required(payload, "requestID", str))
        if found is None or call.switches.get("unknown"):
            raise Refused("invalid_request", "Invalid parameter requestID", 400)
        done_at, order = found
        if time.monotonic() < done_at:
            raise Refused("accepted_request", "accepted but not yet completed", 202)
        return self.accepted(entry, {"signatures": self.signatures(order)})

    def forget_all(self) -> None:
        self.signing.clear()
        super().forget_all()


def _user(payload: Mapping[str, Any]) -> str:
    user = str(required(payload, "credentialID", str)).removeprefix("C-")
    if kind_of_user(user) is None:
        raise Refused("invalid_request", "Invalid parameter credentialID", 400)
    return user
