"""QĐ 769 / VNPT SmartCA by golden files, and what every kind of answer is taken for."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import orjson
import pytest
from pydantic import SecretStr

from signature_connector.domain.provider import (
    Accepted,
    Called,
    Credential,
    Credentials,
    Declined,
    NotKnown,
    Pending,
    Reply,
    Signed,
    Unavailable,
    Unclear,
    Unreadable,
)
from signature_connector.providers.smartca import SpAccount
from tests.support.signing_dialects import (
    FIRST,
    OUTGOING,
    SECOND,
    SECRETS,
    USER,
    Provider,
    before,
    golden,
    order,
    smartca,
)

TRAN_CODE = "acd9be84-60e7-4645-83ab-fb7079b71626"


async def listed(answer: Any) -> Any:
    async with before(smartca, Provider({"get_certificate": answer})) as provider:
        return await provider.credentials(USER, "VNPT-CA")


async def submitted(answer: Any, **changed: Any) -> Any:
    async with before(lambda line: smartca(line, **changed), Provider({"sign": answer})) as ca:
        return await ca.submit(order())


async def become(answer: Any, submission: str | None = str(OUTGOING), **changed: Any) -> Any:
    async with before(lambda line: smartca(line, **changed), Provider({"/status": answer})) as ca:
        return await ca.status(order(), submission)


def changed(name: str, **parts: Any) -> Any:
    answer = golden("smartca", name)
    answer["data"].update(parts)
    return answer


async def test_certificates_are_asked_for_and_read_as_in_the_golden_files() -> None:
    provider = Provider({"get_certificate": golden("smartca", "get_certificate.answer")})
    async with before(smartca, provider) as ca:
        answer = await ca.credentials(USER, "VNPT-CA")
    (asked,) = provider.bodies("/base/credentials/get_certificate")
    assert UUID(asked["transaction_id"]).version == 4
    expected = golden("smartca", "get_certificate.request")
    assert asked == {**expected, "transaction_id": asked["transaction_id"]}
    assert isinstance(answer, Credentials)
    assert answer.found == [
        Credential(b"\x30\x82\x01\x93", "54010101493c47d3", "SP_CA_09940", (b"\x30\x82\x01\x94",))
    ]


async def test_several_documents_go_out_in_one_order_as_in_the_golden_file() -> None:
    provider = Provider({"sign": golden("smartca", "sign.accepted")})
    async with before(smartca, provider) as ca:
        answer = await ca.submit(order())
    assert provider.bodies("/base/signatures/sign") == [golden("smartca", "sign.request")]
    assert provider.asked[0].headers["connection"] == "close"
    reply = Reply("200", "sig_wait_for_user_confirm", TRAN_CODE)
    assert answer == Accepted(str(OUTGOING), reply)


async def test_an_order_is_asked_about_by_the_id_that_the_ca_goes_by() -> None:
    provider = Provider({"/status": golden("smartca", "status.waiting")})
    async with before(smartca, provider) as ca:
        assert ca.abilities.confirms == "any"
        assert isinstance(await ca.status(order(), None), Pending)
    (call,) = provider.asked
    assert call.url.path == f"/base/signatures/sign/{OUTGOING}/status"
    assert call.content == b"{}"
    accepted = await submitted(golden("smartca", "sign.accepted"), status_by="tran_code")
    assert accepted.submission == TRAN_CODE
    async with before(lambda line: smartca(line, status_by="tran_code"), Provider({})) as ca:
        assert ca.abilities.confirms == "accepted"
        assert isinstance(await ca.status(order(), None), Unavailable)


async def test_an_id_from_outside_stays_one_part_of_the_path() -> None:
    provider = Provider({"/status": golden("smartca", "status.waiting")})
    async with before(smartca, provider) as ca:
        await ca.status(order(), "../../credentials?x=")
    assert provider.asked[0].url.raw_path == (
        b"/base/signatures/sign/..%2F..%2Fcredentials%3Fx%3D/status"
    )


async def test_signatures_are_matched_by_their_document_not_by_their_place() -> None:
    expected = {FIRST: b"signature one", SECOND: b"signature two"}
    assert (await become(golden("smartca", "status.signed"))).results == expected
    at_once = await submitted(golden("smartca", "sign.signed"))
    assert isinstance(at_once, Signed)
    assert at_once.results == {FIRST: b"signature one"}


async def test_each_document_has_its_own_outcome() -> None:
    rows = golden("smartca", "status.signed")["data"]["signatures"]
    rows[0]["signature_value"] = None
    stranger = {"doc_id": str(OUTGOING), "signature_value": "AAAA"}
    answer = await become(changed("status.signed", signatures=[*rows, stranger, 7, {}]))
    assert isinstance(answer, Signed)
    assert answer.results == {FIRST: b"signature one"}


@pytest.mark.parametrize(
    ("name", "expected"),
    [("expired", "expired"), ("refused", "rejected-by-user")],
)
async def test_a_person_who_did_not_confirm_is_told_apart(name: str, expected: str) -> None:
    answer = await become(golden("smartca", f"status.{name}"))
    assert isinstance(answer, Declined)
    assert answer.outcome == expected


async def test_a_reply_names_nobody_and_opens_nothing() -> None:
    answer = await submitted(golden("smartca", "sign.refused"))
    assert answer == Declined("failed", Reply("403", "Chứng thư của … đã bị thu hồi (mã …)"))
    echoed = {"status_code": 500, "message": f"sp_password={SECRETS['smartca']} {USER} {'x' * 60}"}
    answer = await submitted(echoed)
    assert answer.reply.message == "sp_password=… … …"


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"<html>",
        b"[]",
        b"{}",
        b"[" * 5000,
        httpx.Response(502, content=b""),
        httpx.Response(503, json=golden("smartca", "sign.refused")),
        httpx.Response(302, headers={"location": "/login"}),
        {"status_code": 500, "message": "lỗi"},
        {"status_code": 777},
        {"status_code": True, "data": {"tran_code": "x"}},
        {"status_code": 200, "data": {}},
        {"status_code": 200, "data": [1]},
        {"status_code": 200, "data": {"transaction_id": "another"}},
        changed("sign.signed", signed_files=[{"doc_id": str(FIRST), "signature_value": "%"}]),
        changed("sign.signed", signed_files=[{"doc_id": str(OUTGOING), "signature_value": "AAAA"}]),
        changed(
            "sign.signed", signed_files=[{"doc_id": str(FIRST), "signature_value": "AAAA"}] * 2
        ),
        {**golden("smartca", "sign.signed"), "status_code": 403},
    ],
)
async def test_any_other_answer_to_the_signing_call_is_unclear(answer: Any) -> None:
    """Also one that contradicts itself, and one that names a document twice."""
    assert isinstance(await submitted(answer), Unclear)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"{",
        httpx.Response(500, json=golden("smartca", "status.signed")),
        httpx.Response(429, headers={"retry-after": "3"}),
        {"status_code": 200, "message": "SUCCESS", "data": {}},
        {"status_code": 401},
        {"status_code": 400, "message": "?"},
        changed("status.signed", signatures=[{"doc_id": str(FIRST), "signature_value": "AA"}]),
        changed(
            "status.signed", signatures=[{"doc_id": str(FIRST), "signature_value": "AAAA"}] * 2
        ),
        {**golden("smartca", "status.signed"), "message": "EXPIRED"},
        {**golden("smartca", "status.signed"), "status_code": 400},
    ],
)
async def test_a_status_that_says_nothing_certain_is_asked_for_again(answer: Any) -> None:
    assert isinstance(await become(answer), Unavailable)


async def test_an_unknown_order_is_never_a_clear_no() -> None:
    assert isinstance(await become(httpx.Response(404, content=b"")), NotKnown)
    assert isinstance(await become({"status_code": 404, "message": "?"}), NotKnown)


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(503, headers={"retry-after": "7"}),
        {"status_code": 401, "message": "SP_CREDENTIAL_INVALID"},
        {"status_code": 200},
        {"status_code": 200, "data": {"user_certificates": [{"cert_data": "%"}]}},
        {"status_code": 200, "data": {"user_certificates": [7]}},
        b"null",
    ],
)
async def test_certificates_that_cannot_be_had_now_are_asked_for_again(answer: Any) -> None:
    assert isinstance(await listed(answer), Unavailable)


async def test_when_the_ca_stops_asking_is_told_where_it_says_so() -> None:
    answer = await submitted(changed("sign.accepted", expired_in=300))
    assert isinstance(answer, Accepted)
    assert answer.expires_at is not None
    assert abs(answer.expires_at - datetime.now(UTC) - timedelta(seconds=300)) < timedelta(
        seconds=5
    )
    for nonsense in (-1, 10**9, "300", True, 1.5):
        answer = await submitted(changed("sign.accepted", expired_in=nonsense))
        assert answer.expires_at is None


async def test_a_webhook_only_names_what_to_ask_about() -> None:
    async with before(smartca, Provider({})) as ca:
        body = golden("smartca", "webhook")
        assert ca.called(orjson.dumps(body)) == Called(outgoing_id=OUTGOING)
        foreign = {**body, "transaction_id": "SP_CA_1"}
        assert ca.called(orjson.dumps(foreign)) == Called(submission="SP_CA_1")
        for wrong in (
            {**body, "sp_id": "another"},
            {**body, "transaction_id": None},
            {**body, "transaction_id": "a\nb"},
            [body],
        ):
            with pytest.raises(Unreadable):
                ca.called(orjson.dumps(wrong))
        with pytest.raises(Unreadable):
            ca.called(b"\xff")


def test_the_password_is_shown_nowhere() -> None:
    assert "s3cret" not in repr(SpAccount("4184-1.apps", SecretStr("s3cret")))
