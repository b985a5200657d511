"""The signing gateway's program: what it signs is valid, what it spoils is seen to be spoiled."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pytest
from asn1crypto import pem
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.validation import async_validate_pdf_signature
from pyhanko.sign.validation.status import PdfSignatureStatus
from pyhanko_certvalidator import ValidationContext
from reportlab.pdfgen.canvas import Canvas

from simulators.signing_gateway import SigningGateway

CITIZEN = "001099000001"


@cache
def document() -> bytes:
    out = BytesIO()
    canvas = Canvas(out)
    canvas.drawString(72, 720, "Ket qua giai quyet")
    canvas.save()
    return out.getvalue()


class Signer:
    """A caller that signs for one person."""

    def __init__(self, client: httpx.AsyncClient, user_id: str = CITIZEN) -> None:
        self.client = client
        self.who = {"user_id": user_id, "ca_name": "VNPT-CA"}

    async def certificate(self, **changed: str) -> dict[str, Any]:
        reply = await self.client.post("/get_certificate", json={**self.who, **changed})
        answer: dict[str, Any] = reply.json()
        return answer

    async def request(self, doc_id: str = "D1", content: bytes | None = None) -> dict[str, Any]:
        data = (await self.certificate())["data"]
        chosen = data["user_certificates"][0]
        encoded = base64.b64encode(document() if content is None else content).decode()
        file = {"doc_id": doc_id, "file_name": f"{doc_id}.pdf", "file_base64": encoded}
        return {
            **self.who,
            "cert_data": chosen["cert_data"],
            "serial_number": chosen["serial_number"],
            "transaction_id": data["transaction_id"],
            "sign_files": [file],
        }

    async def send(self, request: dict[str, Any]) -> dict[str, Any]:
        reply = await self.client.post("/sign_file", json=request)
        assert reply.status_code == 200
        data: dict[str, Any] = reply.json()["data"]
        return data

    async def sign(self, doc_id: str = "D1", content: bytes | None = None) -> dict[str, Any]:
        return await self.send(await self.request(doc_id, content))

    async def fault(self, **rule: Any) -> None:
        (await self.client.post("/_faults", json=rule)).raise_for_status()

    async def books(self, page: str = "") -> dict[str, Any]:
        summary: dict[str, Any] = (await self.client.get(f"/_books{page}")).json()
        return summary


@asynccontextmanager
async def signing(gateway: SigningGateway) -> AsyncIterator[Signer]:
    transport = httpx.ASGITransport(app=gateway)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        yield Signer(client)
    gateway.books.close()


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One set of keys for the whole module."""
    return tmp_path_factory.mktemp("gateway")


@pytest.fixture
def gateway(state: Path) -> SigningGateway:
    (state / "books.jsonl").unlink(missing_ok=True)
    return SigningGateway(state=state, person_ms=0)


def signed_file(data: dict[str, Any]) -> bytes:
    assert data["status_code"] == 200, data["message"]
    return base64.b64decode(data["signFiles"][0]["file_base64"])


async def verdict(gateway: SigningGateway, signed: bytes) -> PdfSignatureStatus:
    root = asn1_x509.Certificate.load(pem.unarmor(gateway.pki.root_pem)[2])
    (signature,) = PdfFileReader(BytesIO(signed)).embedded_signatures
    return await async_validate_pdf_signature(signature, ValidationContext(trust_roots=[root]))


async def test_a_signed_file_is_valid_pades_over_the_sent_bytes(gateway: SigningGateway) -> None:
    async with signing(gateway) as signer:
        request = await signer.request()
        data = await signer.send(request)
        signed = signed_file(data)
        status = await verdict(gateway, signed)
        assert status.bottom_line
        assert signed.startswith(document())
        assert format(status.signing_cert.serial_number, "x") == request["serial_number"]
        assert status.pkcs7_signature_mechanism == "rsassa_pss"
        assert PdfFileReader(BytesIO(signed)).embedded_signatures[0].sig_object["/SubFilter"] == (
            "/ETSI.CAdES.detached"
        )
        assert data["serial_number"] == request["serial_number"]
        assert data["transaction_id"] == request["transaction_id"]
        assert {**data["signFiles"][0], "file_base64": ""} == {
            "doc_id": "D1",
            "file_name": "D1.pdf",
            "file_base64": "",
        }
        (row,) = (await signer.books("/requests"))["items"]
        assert row == {
            "user_id": CITIZEN,
            "doc_id": "D1",
            "sha256": sha256(document()).hexdigest(),
            "serial_number": request["serial_number"],
            "asked": 1,
            "signed": 1,
            "outcome": "signed",
            "signed_sha256": sha256(signed).hexdigest(),
            "flaw": "",
        }


async def test_the_certificate_is_the_persons_and_fit_for_signing(gateway: SigningGateway) -> None:
    async with signing(gateway) as signer:
        first, again = await signer.certificate(), await signer.certificate()
        assert first["status_code"] == 200
        assert first["data"]["transaction_id"] != again["data"]["transaction_id"]
        chosen = first["data"]["user_certificates"][0]
        assert chosen["serial_number"] == again["data"]["user_certificates"][0]["serial_number"]
        assert chosen["transaction_id"] == first["data"]["transaction_id"]
        certificate = x509.load_der_x509_certificate(base64.b64decode(chosen["cert_data"]))
        assert f"UID=CCCD:{CITIZEN}" in certificate.subject.rfc4514_string()
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
        assert (usage.digital_signature, usage.content_commitment) == (True, True)
        root = (await signer.client.get("/root.pem")).content
        assert root == gateway.pki.root_pem
        other = await signer.certificate(ca_name="FPT-CA")
        assert other["data"]["user_certificates"][0]["serial_number"] != chosen["serial_number"]


async def test_ecdsa_keys_sign_too(tmp_path: Path) -> None:
    gateway = SigningGateway(keys="ecdsa", person_ms=0)
    async with signing(gateway) as signer:
        status = await verdict(gateway, signed_file(await signer.sign()))
        assert status.bottom_line
        assert status.pkcs7_signature_mechanism == "sha256_ecdsa"


@pytest.mark.parametrize(
    ("flaw", "seen"),
    [
        ("bad_signature", "invalid"),
        ("altered_document", "modified"),
        ("wrong_certificate", "somebody else"),
        ("other_document", "not what was sent"),
    ],
)
async def test_a_flaw_is_one_that_a_careful_receiver_sees(
    gateway: SigningGateway, flaw: str, seen: str
) -> None:
    async with signing(gateway) as signer:
        await signer.fault(on="sign_file", kind=flaw, match={"doc_id": "D*"})
        request = await signer.request()
        signed = signed_file(await signer.send(request))
        status = await verdict(gateway, signed)
        serial = format(status.signing_cert.serial_number, "x")
        faults = {
            "invalid": not status.valid,
            "modified": status.valid and not status.bottom_line,
            "somebody else": serial != request["serial_number"],
            "not what was sent": not signed.startswith(document()),
        }
        assert [fault for fault, there in faults.items() if there] == [seen]
        sound = signed_file(await signer.sign("X1"))
        assert (await verdict(gateway, sound)).bottom_line


@pytest.mark.parametrize(
    ("kind", "code", "outcome"), [("refuse", 4002, "refused"), ("expire", 4001, "expired")]
)
async def test_a_person_may_refuse_or_not_answer(
    gateway: SigningGateway, kind: str, code: int, outcome: str
) -> None:
    async with signing(gateway) as signer:
        await signer.fault(on="sign_file", kind=kind, ms=1, times=1)
        data = await signer.sign()
        assert (data["status_code"], data["signFiles"]) == (code, [])
        assert data["message"]
        (row,) = (await signer.books("/requests"))["items"]
        assert (row["asked"], row["signed"], row["outcome"]) == (1, 0, outcome)
        assert (await signer.books())["by_outcome"] == {outcome: 1}
        await signer.sign()
        totals = await signer.books()
        assert (totals["asked"], totals["asked_twice"], totals["signed"]) == (2, 1, 1)


async def test_a_slow_person_holds_up_nobody_else(gateway: SigningGateway) -> None:
    async with signing(gateway) as signer:
        await signer.fault(on="sign_file", kind="slow", ms=60_000, match={"doc_id": "slow"})
        waiting = asyncio.create_task(signer.sign("slow"))
        try:
            assert (await signer.sign("fast"))["status_code"] == 200
            rows = (await signer.books("/requests"))["items"]
            assert {row["doc_id"]: row["outcome"] for row in rows} == {
                "slow": "waiting",
                "fast": "signed",
            }
        finally:
            waiting.cancel()


async def test_the_same_transaction_sent_again_asks_again_and_the_books_show_it(
    gateway: SigningGateway,
) -> None:
    async with signing(gateway) as signer:
        request = await signer.request()
        await signer.send(request)
        await signer.send(request)
        assert (await signer.books())["asked_twice"] == 1


async def test_malformed_requests_are_refused_before_anybody_is_asked(
    gateway: SigningGateway,
) -> None:
    async with signing(gateway) as signer:
        good = await signer.request()
        (file,) = good["sign_files"]
        somebody = Signer(signer.client, "001099000002")
        wrong: list[dict[str, Any]] = [
            {"transaction_id": "T1"},
            {"transaction_id": (await somebody.request())["transaction_id"]},
            {"user_id": "001099000002"},
            {"user_id": "../etc"},
            {"ca_name": "CA-X"},
            {"serial_number": "1"},
            {"cert_data": (await somebody.request())["cert_data"]},
            {"cert_data": "%"},
            {"sign_files": []},
            {"sign_files": [file, file]},
            {"sign_files": [{**file, "file_base64": "%"}]},
            {"sign_files": [{**file, "doc_id": ""}]},
        ]
        for changed in wrong:
            data = await signer.send({**good, **changed})
            assert (data["status_code"], data["signFiles"]) == (400, []), changed
        assert (await signer.books())["asked"] == 0
        assert (await signer.certificate(user_id="1"))["status_code"] == 400
        assert (await signer.client.post("/sign_file", content=b"[]")).status_code == 400


@pytest.mark.parametrize("content", [b"", b"plain text", b"%PDF-1.7\n%%EOF", b"%PDF" * 999])
async def test_what_is_no_pdf_is_refused(gateway: SigningGateway, content: bytes) -> None:
    async with signing(gateway) as signer:
        data = await signer.sign(content=content or b" ")
        assert (data["status_code"], data["signFiles"]) == (400, [])


async def test_an_odd_code_is_told_in_the_form_of_both_calls(gateway: SigningGateway) -> None:
    async with signing(gateway) as signer:
        request = await signer.request()
        await signer.fault(on="*", kind="wrong_code", code="777", message="Lỗi lạ")
        data = await signer.send(request)
        assert (data["status_code"], data["message"], data["signFiles"]) == (777, "Lỗi lạ", [])
        answer = await signer.certificate()
        assert (answer["status_code"], answer["data"]["user_certificates"]) == (777, [])
        assert (await signer.books())["asked"] == 0


async def test_an_answer_may_be_lost_after_the_person_signed(gateway: SigningGateway) -> None:
    async with signing(gateway) as signer:
        await signer.fault(on="sign_file", kind="drop_after", times=1)
        request = await signer.request()
        with pytest.raises(ConnectionError):
            await signer.send(request)
        (row,) = (await signer.books("/requests"))["items"]
        assert (row["asked"], row["signed"], row["outcome"]) == (1, 1, "signed")
        assert (await signer.books())["ends"] == {"answered": 1, "dropped": 1}


async def test_a_token_is_asked_for_when_one_is_set(state: Path) -> None:
    async with signing(SigningGateway(state=state, token="t0k")) as signer:
        reply = await signer.client.post("/get_certificate", json=signer.who)
        assert (reply.status_code, reply.json()["status_code"]) == (401, 401)
        signer.client.headers["authorization"] = "Bearer t0k"
        assert (await signer.certificate())["status_code"] == 200


async def test_a_restarted_gateway_knows_people_transactions_and_whom_it_asked(
    tmp_path: Path,
) -> None:
    async with signing(SigningGateway(state=tmp_path, person_ms=0, keys="ecdsa")) as signer:
        request = await signer.request()
        await signer.send(request)
        before = await signer.books("/requests")
    again = SigningGateway(state=tmp_path, person_ms=0, keys="ecdsa")
    assert (tmp_path / "root.pem").read_bytes() == again.pki.root_pem
    async with signing(again) as signer:
        assert await signer.books("/requests") == before
        assert (await signer.send(request))["status_code"] == 200
        assert (await signer.books())["asked_twice"] == 1
