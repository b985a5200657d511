"""A CA that speaks QĐ 769's dialect, as VNPT SmartCA does.

Known (a vendor's document for integrators and public programs): the calls and their fields, the
messages `sig_wait_for_user_confirm`, `SUCCESS` and `EXPIRED`, codes 200, 400, 401, 403 and 500, the
webhook's fields. Own choice: how a refusal is told, HTTP 404 for an unknown transaction, that the
status goes by either id, and 403 for a used-up quota.
"""

from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from simulators.books import Entry
from simulators.faults import Answer, Call
from simulators.hashes import HashService, Order, Refused, chain_of, required
from simulators.wire import as_answer

CA_NAME = "VNPT-CA"
WAITING = "sig_wait_for_user_confirm"


class SmartCa(HashService):
    """The program.

    Parameters:
        accounts: sp_id and sp_password that are let in; none: any.
    """

    name = "smartca"
    side_by_side = True

    def __init__(self, *given: Any, accounts: Mapping[str, str] | None = None, **more: Any) -> None:
        self._accounts = accounts
        super().__init__(*given, **more)

    def service_of(self, path: str, payload: Mapping[str, Any]) -> str | None:
        if path.startswith("/signatures/sign/") and path.endswith("/status"):
            return "status"
        known = ("/credentials/get_certificate", "/signatures/sign")
        return path.rpartition("/")[2] if path in known else None

    async def serve(self, service: str, call: Call, entry: Entry) -> Answer:
        payload = call.payload or {}
        if service == "status":
            return self._status(call, entry)
        self._check_caller(payload)
        if service == "sign":
            return self._sign_order(payload, call, entry)
        person = self.person(payload, CA_NAME)
        der, *above = chain_of(person)
        certificate = {
            "service_type": "SMARTCA",
            "service_name": "SMARTCA PERSONAL PRO",
            "cert_id": str(uuid4()),
            "cert_status": "Đang hoạt động",
            "serial_number": person.serial,
            "cert_data": der,
            "chain_data": {"ca_cert": above[0], "root_cert": None},
            "transaction_id": required(payload, "transaction_id", str),
        }
        data = {"user_certificates": [certificate]}
        return self.accepted(entry, {"status_code": 200, "message": "Success", "data": data})

    def _check_caller(self, payload: Mapping[str, Any]) -> None:
        given = required(payload, "sp_id", str), required(payload, "sp_password", str)
        if self._accounts is not None and self._accounts.get(given[0]) != given[1]:
            raise Refused(401, "SP_CREDENTIAL_INVALID")

    def _sign_order(self, payload: Mapping[str, Any], call: Call, entry: Entry) -> Answer:
        person = self.person(payload, CA_NAME)
        if payload.get("serial_number") not in ("", None, person.serial):
            raise Refused(403, "CREDENTIAL_STATUS_INVALID")
        documents = []
        for file in required(payload, "sign_files", list):
            if file.get("sign_type") != "hash" or not file.get("file_type"):
                raise Refused(400, "sign_files: chỉ hỗ trợ ký hash")
            digest = required(file, "data_to_be_signed", str)
            if len(digest) != 64 or digest.strip("0123456789abcdef"):
                raise Refused(400, "data_to_be_signed: không phải HEX của sha-256")
            documents.append([required(file, "doc_id", str), digest])
        ours = required(payload, "transaction_id", str)
        if any(order.ours == ours for order in self.orders.values()):
            raise Refused(400, "transaction_id: đã tồn tại")
        if call.switches.get("quota"):
            self.turn_away(payload["user_id"], documents, entry)
            raise Refused(403, "Tài khoản đã hết lượt ký")
        order = Order(str(uuid4()), ours, payload["user_id"], CA_NAME, documents)
        self.begin(order, call, entry)
        data = {"transaction_id": ours, "tran_code": order.id}
        return as_answer({"status_code": 200, "message": WAITING, "data": data})

    def _status(self, call: Call, entry: Entry) -> Answer:
        asked = call.names[1].split("/")[-2]
        order = self.orders.get(asked) or next(
            (one for one in self.orders.values() if one.ours == asked), None
        )
        if order is None or call.switches.get("unknown"):
            raise Refused(404, "Không tìm thấy giao dịch", 404)
        self.settle(order, entry)
        return self.accepted(entry, _told(order))

    def notification(self, order: Order) -> dict[str, Any]:
        told = _told(order)
        return {
            "sp_id": next(iter(self._accounts or {"any": ""})),
            "status_code": told["status_code"],
            "message": told["message"],
            "transaction_id": order.ours,
            "signed_files": told["data"].get("signatures") or [],
        }

    def refusals(self) -> dict[str, tuple[int | str, str]]:
        return {"refuse": (400, "sig_user_rejected"), "expire": (200, "EXPIRED")}

    def refusal(self, refused: Refused) -> Answer:
        told = {"status_code": refused.code, "message": refused.message, "data": None}
        return as_answer(told, refused.status)


def _told(order: Order) -> dict[str, Any]:
    data: dict[str, Any] = {"transaction_id": order.ours, "signatures": None}
    if order.outcome == "waiting":
        return {"status_code": 200, "message": WAITING, "data": data}
    if order.outcome != "signed":
        code, message = order.told
        return {"status_code": code, "message": message, "data": data}
    data["signatures"] = [
        {"doc_id": doc_id, "signature_value": value, "timestamp_signature": None}
        for (doc_id, _), value in zip(order.documents, order.signatures, strict=True)
    ]
    return {"status_code": 200, "message": "SUCCESS", "data": data}
