"""Services that sign hashes: orders of several documents, decided by one person at once, whose
outcome is asked for or called back.

Own choice: when a callback comes, how often and that it is sent without authentication; that of
ECDSA r and s stand side by side where a service says so.
"""

import asyncio
import base64
import hashlib
import http.client
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512
from cryptography.hazmat.primitives.serialization import Encoding

from simulators.books import Entry
from simulators.faults import Answer, Call, Kind, Proceed, Reply, Rule, Strike
from simulators.pki import Person
from simulators.signers import SigningService
from simulators.wire import as_answer

DIGESTS = {"sha256": SHA256(), "sha384": SHA384(), "sha512": SHA512()}
HASH_OIDS = {
    "2.16.840.1.101.3.4.2.1": "sha256",
    "2.16.840.1.101.3.4.2.2": "sha384",
    "2.16.840.1.101.3.4.2.3": "sha512",
}
SIGNATURE_OIDS = {
    "1.2.840.113549.1.1.1": "rsassa_pkcs1v15",
    "1.2.840.113549.1.1.11": "rsassa_pkcs1v15",
    "1.2.840.113549.1.1.10": "rsassa_pss",
    "1.2.840.10045.4.3.2": "ecdsa",
    "1.2.840.10045.4.3.3": "ecdsa",
    "1.2.840.10045.4.3.4": "ecdsa",
}
_CALLBACK_SECONDS = 5


class Refused(Exception):
    """The service does not do it."""

    def __init__(self, code: int | str, message: str, status: int = 200) -> None:
        super().__init__(message)
        self.code, self.message, self.status = code, message, status


@dataclass(slots=True)
class Order:
    """What a person was asked to sign with one confirmation."""

    id: str
    ours: str
    user_id: str
    ca_name: str
    documents: list[list[str]]  # of each id and hash, hexadecimal
    algorithm: str = "sha256"
    mechanism: str = "rsassa_pkcs1v15"
    fate: str = "signed"
    flaw: str | None = None
    decides_at: float = 0.0
    outcome: str = "waiting"
    told: list[Any] = field(default_factory=list)  # code and sentence of a refusal
    signatures: list[str] = field(default_factory=list)


class HashService(SigningService, ABC):
    """A service of this kind.

    Parameters:
        callback: address that is told of every outcome, or None.
        side_by_side: ECDSA signatures as r and s (IEEE P1363) rather than as a sequence.
    """

    side_by_side = False

    def __init__(
        self,
        seed: int = 0,
        state: Path | None = None,
        delay_ms: float = 0,
        *,
        callback: str | None = None,
        person_ms: float = 20,
        keys: str = "rsa",
        crls: str | None = None,
    ) -> None:
        self.orders: dict[str, Order] = {}
        self.callback = callback
        self._tasks: set[asyncio.Task[None]] = set()
        super().__init__(seed, state, delay_ms, person_ms=person_ms, keys=keys, crls=crls)

    # What a person does.

    def begin(self, order: Order, call: Call, entry: Entry) -> asyncio.Task[None]:
        """Ask the person; what was asked is in the books before anything is answered."""
        fate, *told = call.switches.get("unwilling", ("signed",))
        order.fate, order.told = fate, told
        order.flaw = call.switches.get("flaw")
        wait = call.switches.get("person_ms", self.person_ms) / 1000
        order.decides_at = time.time() + wait
        serial = self.pki.person(order.ca_name, order.user_id).serial
        entry.items = len(order.documents)
        asked = [{**row, "serial_number": serial} for row in _rows(order)]
        self.books.keep(entry, "waiting", {"order": asdict(order), "asked": asked})
        task = asyncio.create_task(self._decide(order.id, wait, call.switches, entry))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def turn_away(self, user_id: str, documents: Sequence[Sequence[str]], entry: Entry) -> None:
        """Note that a used-up quota kept a person from being asked; the caller refuses."""
        rows = [{"user_id": user_id, "doc_id": one[0], "sha256": one[1]} for one in documents]
        ended = [{**row, "outcome": "quota"} for row in rows]
        self.books.keep(entry, "quota", {"ended": ended})

    async def _decide(
        self, order_id: str, wait: float, switches: Mapping[str, Any], entry: Entry
    ) -> None:
        if switches.get("early_callback"):
            await self._call_back(self.orders[order_id])
        await asyncio.sleep(wait)
        order = self.orders.get(order_id)
        if order is None:  # the books were emptied meanwhile
            return
        self.settle(order, entry)
        if switches.get("no_callback"):
            return
        await asyncio.sleep(switches.get("late_callback", 0) / 1000)
        for _ in range(1 + switches.get("replay_callback", 0)):
            await self._call_back(order)

    def settle(self, order: Order, entry: Entry) -> None:
        """What became of an order whose time has come; anything else stays as it is."""
        if order.outcome != "waiting" or time.time() < order.decides_at - 0.001:
            return
        signed = []
        ended: list[dict[str, Any]] = [{**row, "outcome": order.fate} for row in _rows(order)]
        if order.fate == "signed":
            signed = [self._sign(order, bytes.fromhex(one[1])) for one in order.documents]
            for row, raw in zip(ended, signed, strict=True):
                row["signed_sha256"] = hashlib.sha256(raw).hexdigest()
                row["flaw"] = order.flaw
        done = [base64.b64encode(raw).decode() for raw in signed]
        change = {"outcome": order.fate, "signatures": done}
        self.books.keep(entry, order.fate, {"settled": {"id": order.id, **change}, "ended": ended})

    def _sign(self, order: Order, digest: bytes) -> bytes:
        person = self.pki.person(order.ca_name, order.user_id)
        if order.flaw == "other_document":
            digest = hashlib.new(order.algorithm, digest).digest()
        if order.flaw == "wrong_certificate":
            person = self._stranger(order, person)
        algorithm = DIGESTS[order.algorithm]
        if len(digest) != algorithm.digest_size:
            raise Refused(400, "hash: độ dài không đúng", 400)
        key = person.key
        if isinstance(key, ec.EllipticCurvePrivateKey):
            signature = key.sign(digest, ec.ECDSA(Prehashed(algorithm)))
            if self.side_by_side:
                size = (key.key_size + 7) // 8
                signature = b"".join(n.to_bytes(size) for n in decode_dss_signature(signature))
        else:
            scheme: padding.AsymmetricPadding = padding.PKCS1v15()
            if order.mechanism == "rsassa_pss":
                scheme = padding.PSS(padding.MGF1(algorithm), algorithm.digest_size)
            signature = key.sign(digest, scheme, Prehashed(algorithm))
        if order.flaw == "bad_signature":
            signature = signature[:-1] + bytes([signature[-1] ^ 1])
        return signature

    def _stranger(self, order: Order, person: Person) -> Person:
        """Somebody whose key is another one: keys are shared out of a small pool."""
        number = 0
        while True:
            somebody = self.pki.person(order.ca_name, f"{number:012}")
            if somebody.key is not person.key:
                return somebody
            number += 1

    # What it tells by itself.

    def notification(self, order: Order) -> dict[str, Any] | None:
        """The body of a callback; None where the service has none."""
        return None

    async def _call_back(self, order: Order) -> None:
        body = self.notification(order)
        if self.callback is None or body is None:
            return
        entry = self.books.begin("callback")
        told = await asyncio.to_thread(_post, self.callback, orjson.dumps(body))
        self.books.keep(entry, told)
        self.books.finish(entry, "answered" if told.isdecimal() else "dropped")

    # Faults and books.

    def refusals(self) -> dict[str, tuple[int | str, str]]:
        return {
            "refuse": (4002, "Người dùng từ chối ký số"),
            "expire": (4001, "Hết thời gian chờ người dùng xác nhận"),
        }

    def flaws(self) -> tuple[str, ...]:
        return (*super().flaws(), "other_document")

    def kinds(self) -> dict[str, Kind]:
        return {
            **super().kinds(),
            "quota": Kind(_switch("quota")),
            "unknown_transaction": Kind(_switch("unknown")),
            "early_callback": Kind(_switch("early_callback")),
            "no_callback": Kind(_switch("no_callback")),
            "late_callback": Kind(_switch("late_callback"), {"ms": 1000}),
            "replay_callback": Kind(_switch("replay_callback"), {"count": 3}),
        }

    def fold(self, kept: Mapping[str, Any]) -> None:
        if (order := kept.get("order")) is not None:
            self.orders[order["id"]] = Order(**order)
        if (settled := kept.get("settled")) is not None and settled["id"] in self.orders:
            order = self.orders[settled["id"]]
            order.outcome, order.signatures = settled["outcome"], settled["signatures"]
        super().fold(kept)

    def forget_all(self) -> None:
        self.orders.clear()
        super().forget_all()

    # Reading and answering.

    async def work(self, service: str, call: Call, entry: Entry) -> Answer:
        try:
            return await self.serve(service, call, entry)
        except Refused as refused:
            self.books.keep(entry, f"refused {refused.code}")
            return self.refusal(refused)

    @abstractmethod
    async def serve(self, service: str, call: Call, entry: Entry) -> Answer:
        """Do what is asked; raises Refused."""

    @abstractmethod
    def refusal(self, refused: Refused) -> Answer:
        """A refusal in the service's form."""

    def odd(self, code: str, message: str) -> Answer:
        return self.refusal(Refused(int(code) if code.isdigit() else code, message))

    def person(self, payload: Mapping[str, Any], ca_name: str, name: str = "user_id") -> Person:
        """The person whom a call is about."""
        return self.pki.person(ca_name, str(required(payload, name, str)))

    def facts(self, payload: Mapping[str, Any]) -> dict[str, list[str]]:
        names = ("user_id", "userID", "credentialID", "transaction_id")
        return {name: [str(payload[name])] for name in names if name in payload}

    def accepted(self, entry: Entry, payload: Any, status: int = 200) -> Answer:
        """A question that was answered."""
        self.books.keep(entry, "accepted")
        return as_answer(payload, status)


def required(payload: Mapping[str, Any], name: str, kind: type) -> Any:
    """A member that has to be there; raises Refused."""
    value = payload.get(name)
    if not isinstance(value, kind) or value in ("", []):
        raise Refused(400, f"{name}: thiếu hoặc sai kiểu", 400)
    return value


def digest_of(value: Any) -> str:
    """A hash in base64, as hexadecimal; raises Refused."""
    try:
        return base64.b64decode(value, validate=True).hex()
    except (TypeError, ValueError):
        raise Refused(400, "hash: không phải base64", 400) from None


def chain_of(person: Person) -> list[str]:
    """The person's certificate and those above it, in base64."""
    above = [one.public_bytes(Encoding.DER) for one in person.chain]
    return [base64.b64encode(one).decode() for one in (person.der, *above)]


def _rows(order: Order) -> Sequence[dict[str, Any]]:
    return [
        {"user_id": order.user_id, "doc_id": doc_id, "sha256": digest}
        for doc_id, digest in order.documents
    ]


def _switch(name: str) -> Strike:
    async def strike(rule: Rule, call: Call, proceed: Proceed) -> Reply:
        given = [rule[one] for one in ("ms", "count") if one in rule.parameters]
        call.switches[name] = given[0] if given else True
        return await proceed()

    return strike


def _post(address: str, body: bytes) -> str:
    """POST, and what came of it: the status, or the error's kind."""
    parts = urlsplit(address)
    connection = http.client.HTTPConnection(parts.netloc, timeout=_CALLBACK_SECONDS)
    try:
        connection.request("POST", parts.path or "/", body, {"Content-Type": "application/json"})
        return str(connection.getresponse().status)
    except (OSError, http.client.HTTPException) as error:
        return type(error).__name__
    finally:
        connection.close()
