"""The gateway to public signing services (eSign gateway dialect).

Known (seen in one portal's code, no specification): both calls, their fields, snake_case in and
camelCase `signFiles` out, that the transaction id is the gateway's own and is carried from the
first call into the second, one file a call, that the call waits for the person's phone, an
optional Bearer token, and status_code 200 for success.

Own choice: HTTP 200 for every answer of the gateway, the other status codes (4001 to 4005 are
borrowed from one CA's dialect), the sentences, lower-case hexadecimal serial numbers, and that a
transaction may be used again, which asks the person again: the books show who was asked twice.
"""

import asyncio
import base64
import binascii
import hashlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

from simulators import pades
from simulators.books import Entry
from simulators.faults import Answer, Call, Kind, Proceed, Reply, Rule
from simulators.pki import CA_NAMES, Person, kind_of_user
from simulators.shapes import Shape, at_most, one_of, some_text, text
from simulators.signers import SigningService
from simulators.wire import as_answer

DONE = "Thành công"
ASKED_FOR = Shape(
    mandatory=("user_id", "ca_name"),
    fields={"user_id": some_text, "ca_name": one_of(*CA_NAMES)},
)
FILE = Shape(
    mandatory=("doc_id", "file_name", "file_base64"),
    fields={"doc_id": some_text, "file_name": at_most(255, some_text), "file_base64": some_text},
)
TO_SIGN = Shape(
    mandatory=(*ASKED_FOR.mandatory, "cert_data", "serial_number", "transaction_id"),
    fields={
        **ASKED_FOR.fields,
        "cert_data": some_text,
        "serial_number": some_text,
        "transaction_id": text,
    },
)


class Refused(Exception):
    """The gateway does not sign, with its status code and a Vietnamese sentence."""

    def __init__(self, code: int | str, message: str, outcome: str = "", status: int = 200) -> None:
        super().__init__(message)
        self.code, self.message, self.status = code, message, status
        self.outcome = outcome or f"refused {code}"


class SigningGateway(SigningService):
    """The gateway's program.

    Parameters:
        token: Bearer token that every call must carry, or None.
        person_ms: how long a person takes to approve, milliseconds.
        keys: algorithms of the persons' keys, as in `Pki`.
    """

    name = "signing-gateway"

    def __init__(
        self,
        seed: int = 0,
        state: Path | None = None,
        delay_ms: float = 0,
        *,
        token: str | None = None,
        person_ms: float = 20,
        keys: str = "rsa",
    ) -> None:
        self.transactions: dict[str, str] = {}
        self._authorization = f"Bearer {token}".encode() if token else None
        # One thread: signing holds the interpreter, and more would only starve the event loop.
        self._signers = ThreadPoolExecutor(1, "signer")
        super().__init__(seed, state, delay_ms, person_ms=person_ms, keys=keys)

    def service_of(self, path: str, payload: Mapping[str, Any]) -> str | None:
        return path[1:] if path in ("/get_certificate", "/sign_file") else None

    async def work(self, service: str, call: Call, entry: Entry) -> Answer:
        signing = service == "sign_file"
        try:
            payload = self._check_caller(call)
            wrong = (TO_SIGN if signing else ASKED_FOR).complaint(payload)
            if wrong is not None:
                raise Refused(400, wrong)
            if kind_of_user(payload["user_id"]) is None:
                raise Refused(400, "user_id: không phải số CCCD, CMND, hộ chiếu hoặc mã số thuế")
            if signing:
                return await self._sign_file(payload, call, entry)
            return self._get_certificate(payload, entry)
        except Refused as refused:
            self.books.keep(entry, refused.outcome)
            return self._failure(signing, refused.code, refused.message, refused.status)

    def _check_caller(self, call: Call) -> dict[str, Any]:
        given = call.headers.get(b"authorization")
        if self._authorization is not None and given != self._authorization:
            raise Refused(401, "Chưa xác thực", status=401)
        if call.payload is None:
            raise Refused(400, "Dữ liệu phải là một đối tượng JSON", status=400)
        return call.payload

    def _get_certificate(self, payload: Mapping[str, Any], entry: Entry) -> Answer:
        person = self.pki.person(payload["ca_name"], payload["user_id"])
        transaction = f"T{uuid4().hex}"
        self.books.keep(
            entry, "accepted", {"transaction": transaction, "user_id": payload["user_id"]}
        )
        certificate = {
            "cert_id": f"{payload['ca_name']}-{person.serial[:12]}",
            "cert_data": base64.b64encode(person.der).decode(),
            "serial_number": person.serial,
            "transaction_id": transaction,
        }
        data = {"transaction_id": transaction, "user_certificates": [certificate]}
        return as_answer({"status_code": 200, "message": DONE, "data": data})

    async def _sign_file(self, payload: dict[str, Any], call: Call, entry: Entry) -> Answer:
        file, document = _file(payload)
        person = self._check_signer(payload)
        request = {
            "user_id": payload["user_id"],
            "doc_id": file["doc_id"],
            "sha256": hashlib.sha256(document).hexdigest(),
            "serial_number": person.serial,
        }
        entry.items = 1
        self.books.keep(entry, "waiting", {"asked": request})
        try:
            await self._ask_person(call)
            signed = await asyncio.get_running_loop().run_in_executor(
                self._signers, self._sign, document, person, payload, call.switches.get("flaw")
            )
        except Refused as refused:
            outcome = {**request, "outcome": refused.outcome}
            self.books.keep(entry, refused.outcome, {"ended": outcome})
            return self._failure(True, refused.code, refused.message)
        digest = hashlib.sha256(signed).hexdigest()
        flaw = call.switches.get("flaw")
        outcome = {**request, "outcome": "signed", "signed_sha256": digest, "flaw": flaw}
        self.books.keep(entry, "signed", {"ended": outcome})
        returned = {**file, "file_base64": base64.b64encode(signed).decode()}
        return as_answer(
            {
                "data": {
                    "status_code": 200,
                    "message": DONE,
                    "serial_number": payload["serial_number"],
                    "transaction_id": payload["transaction_id"],
                    "signFiles": [returned],
                }
            }
        )

    def _check_signer(self, payload: Mapping[str, Any]) -> Person:
        if self.transactions.get(payload["transaction_id"]) != payload["user_id"]:
            raise Refused(400, "transaction_id: giao dịch không tồn tại")
        person = self.pki.person(payload["ca_name"], payload["user_id"])
        given = _decoded(payload["cert_data"], "cert_data")
        if given != person.der or payload["serial_number"].lower() != person.serial:
            raise Refused(400, "cert_data: chứng thư số không phải của người dùng")
        return person

    async def _ask_person(self, call: Call) -> None:
        await asyncio.sleep(call.switches.get("person_ms", self.person_ms) / 1000)
        held: Callable[[], bool] = call.switches.get("held", lambda: False)
        while held():  # noqa: ASYNC110 - as the rules stand
            await asyncio.sleep(0.05)  # until somebody takes the rule away
        if (unwilling := call.switches.get("unwilling")) is not None:
            outcome, code, message = unwilling
            raise Refused(code, message, outcome)

    def _sign(
        self, document: bytes, person: Person, payload: Mapping[str, Any], flaw: str | None
    ) -> bytes:
        if flaw == "wrong_certificate":
            digest = hashlib.sha256(payload["user_id"].encode()).digest()
            somebody_else = f"{int.from_bytes(digest) % 10**12:012}"
            person, flaw = self.pki.person(payload["ca_name"], somebody_else), None
        try:
            return pades.sign(document, person, flaw)
        except pades.BadDocument as wrong:
            raise Refused(400, f"Tài liệu không ký được: {wrong}") from None

    def _failure(self, signing: bool, code: int | str, message: str, status: int = 200) -> Answer:
        told: dict[str, Any] = {"status_code": code, "message": message}
        if signing:
            nothing = {"serial_number": "", "transaction_id": "", "signFiles": []}
            return as_answer({"data": {**told, **nothing}}, status)
        nothing = {"transaction_id": "", "user_certificates": []}
        return as_answer({**told, "data": nothing}, status)

    def odd(self, code: str, message: str) -> Answer:
        """Both envelopes at once: the fault does not say which call it struck."""
        told = {"status_code": int(code) if code.isdigit() else code, "message": message}
        return as_answer({**told, "data": {**told, "signFiles": [], "user_certificates": []}})

    def facts(self, payload: Mapping[str, Any]) -> dict[str, list[str]]:
        names = ("user_id", "ca_name", "doc_id", "file_name")
        files = payload.get("sign_files")
        file = files[0] if isinstance(files, list) and files else {}
        seen = {**payload, **file} if isinstance(file, dict) else payload
        return {name: [str(seen[name])] for name in names if name in seen}

    def refusals(self) -> dict[str, tuple[int | str, str]]:
        return {
            "refuse": (4002, "Người dùng từ chối ký số"),
            "expire": (4001, "Hết thời gian chờ người dùng xác nhận"),
            "quota": (4005, "Tài khoản đã hết lượt ký"),
        }

    def flaws(self) -> tuple[str, ...]:
        return ("wrong_certificate", *pades.FLAWS)

    def kinds(self) -> dict[str, Kind]:
        return {**super().kinds(), "hold": Kind(self._hold)}

    async def _hold(self, rule: Rule, call: Call, proceed: Proceed) -> Reply:
        """Nobody decides before the rule is taken away."""
        call.switches["held"] = lambda: rule in self.faults.rules
        return await proceed()

    # Books.

    def fold(self, kept: Mapping[str, Any]) -> None:
        if (transaction := kept.get("transaction")) is not None:
            self.transactions[transaction] = kept["user_id"]
        super().fold(kept)

    def forget_all(self) -> None:
        self.transactions.clear()
        super().forget_all()


def _file(payload: Mapping[str, Any]) -> tuple[dict[str, str], bytes]:
    files = payload.get("sign_files")
    if not isinstance(files, list) or len(files) != 1:
        raise Refused(400, "sign_files: phải có đúng một tệp")
    if (wrong := FILE.complaint(files[0])) is not None:
        raise Refused(400, f"sign_files[0].{wrong}")
    return files[0], _decoded(files[0]["file_base64"], "file_base64")


def _decoded(encoded: str, name: str) -> bytes:
    try:
        return base64.b64decode(encoded, validate=True)
    except binascii.Error:
        raise Refused(400, f"{name}: không phải base64") from None
