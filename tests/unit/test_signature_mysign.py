"""Viettel MySign by golden files, and what every kind of answer is taken for."""

import asyncio
from typing import Any

import httpx
import orjson
import pytest

from signature_connector.domain.provider import (
    Accepted,
    Called,
    Credential,
    Credentials,
    Declined,
    NeverSent,
    Pending,
    Reply,
    Signed,
    Unavailable,
    Unclear,
    Unreadable,
)
from signature_connector.providers.mysign import plain_name
from signature_connector.providers.wire import Line
from tests.support.signing_dialects import (
    FIRST,
    SECOND,
    SECRETS,
    USER,
    Provider,
    Turns,
    before,
    golden,
    mysign,
    order,
)

TRANSACTION = "de67f948-0498-4919-af28-dff54a6a4e77"
LOGIN = {"ras/v1/login": golden("mysign", "login.answer")}
UNAUTHORISED = httpx.Response(401, json={"error": 59033, "error_description": "token"})


async def submitted(answer: Any, **changed: Any) -> Any:
    provider = Provider({**LOGIN, "signHash": answer})
    async with before(lambda line: mysign(line, **changed), provider) as ca:
        return await ca.submit(order())


async def become(answer: Any) -> Any:
    async with before(mysign, Provider({**LOGIN, "requests/status": answer})) as ca:
        return await ca.status(order(), TRANSACTION)


async def test_certificates_are_asked_for_and_read_as_in_the_golden_files() -> None:
    answers = {**LOGIN, "certificates/info": golden("mysign", "certificates.answer")}
    provider = Provider(answers)
    async with before(mysign, provider) as ca:
        answer = await ca.credentials(USER, "Viettel-CA")
    assert provider.bodies("/base/vtss/service/ras/v1/login") == [golden("mysign", "login.request")]
    assert provider.bodies("/base/vtss/service/certificates/info") == [
        golden("mysign", "certificates.request")
    ]
    assert provider.asked[1].headers["authorization"] == "Bearer tok-1"
    assert isinstance(answer, Credentials)
    chain = (b"\x30\x82\x01\x94", b"\x30\x82\x01\x96")
    id_ = "001099000001_2482540_20261017114147"
    assert answer.found == [Credential(b"\x30\x82\x01\x93", "", id_, chain)]


async def test_a_credential_that_names_the_person_is_not_shown() -> None:
    credential = Credential(b"", "1", f"{USER}_2482540")
    assert USER not in repr(credential)


async def test_several_documents_go_out_in_one_order_as_in_the_golden_file() -> None:
    provider = Provider({**LOGIN, "signHash": golden("mysign", "signHash.accepted")})
    async with before(mysign, provider) as ca:
        answer = await ca.submit(order())
    assert provider.bodies("/base/vtss/service/signHash") == [golden("mysign", "signHash.request")]
    assert answer == Accepted(TRANSACTION, Reply(transaction_id=TRANSACTION))


async def test_signatures_stand_in_the_order_of_the_documents() -> None:
    provider = Provider({**LOGIN, "requests/status": golden("mysign", "status.signed")})
    async with before(mysign, provider) as ca:
        answer = await ca.status(order(), TRANSACTION)
    assert provider.bodies("requests/status") == [golden("mysign", "status.request")]
    assert isinstance(answer, Signed)
    assert answer.results == {FIRST: b"signature one", SECOND: b"signature two"}


@pytest.mark.parametrize(
    ("name", "outcome"),
    [
        ("expired", "expired"),
        ("refused", "rejected-by-user"),
        ("failed", "failed"),
        ("quota", "failed"),
        ("certificate", "failed"),
    ],
)
async def test_a_clear_no_is_told_apart(name: str, outcome: str) -> None:
    answer = await become(golden("mysign", f"status.{name}"))
    assert isinstance(answer, Declined)
    assert answer.outcome == outcome


@pytest.mark.parametrize("name", ["waiting", "signing"])
async def test_a_person_who_has_not_decided_is_waited_for(name: str) -> None:
    assert isinstance(await become(golden("mysign", f"status.{name}")), Pending)


async def test_a_quota_that_is_used_up_is_a_clear_no_whose_reply_names_nobody() -> None:
    answer = await submitted(golden("mysign", "signHash.refused"))
    assert answer == Declined("failed", Reply("4005", "Tài khoản … hết lượt ký (…)"))


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"<html>",
        b"[]",
        b"{}",
        {"transactionId": ""},
        {"transactionId": 7},
        {"transactionId": TRANSACTION, "error": 50000},
        {"transactionId": TRANSACTION, "error": 4002},
        {"error": 58007},
        {"signatures": ["AAAA"]},
        {"signatures": ["%", "%"]},
        {"signatures": "AAAA"},
        httpx.Response(400, json={"transactionId": TRANSACTION}),
        httpx.Response(503, json=golden("mysign", "signHash.refused")),
        httpx.Response(302, headers={"location": "/"}),
    ],
)
async def test_any_other_answer_to_the_signing_call_is_unclear(answer: Any) -> None:
    assert isinstance(await submitted(answer), Unclear)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"[1]",
        golden("mysign", "status.broken"),
        {"status": "1"},
        {"status": "1", "signatures": ["AAAA"]},
        {"status": "1", "signatures": ["AAAA", "AAAA", "AAAA"]},
        {"status": "4002", "signatures": ["AAAA", "AAAA"]},
        {"status": "4242"},
        {"status": None},
        httpx.Response(500, json=golden("mysign", "status.signed")),
    ],
)
async def test_a_status_that_says_nothing_certain_is_asked_for_again(answer: Any) -> None:
    """Also one with more or fewer signatures than documents: nobody could say whose they are."""
    assert isinstance(await become(answer), Unavailable)


async def test_without_the_providers_transaction_nothing_can_be_asked() -> None:
    async with before(mysign, Provider(LOGIN)) as ca:
        assert ca.abilities.confirms == "accepted"
        assert isinstance(await ca.status(order(), None), Unavailable)


async def test_each_person_has_one_session_however_many_ask_at_once() -> None:
    provider = Provider({**LOGIN, "requests/status": golden("mysign", "status.waiting")})
    async with before(mysign, provider) as ca:
        await asyncio.gather(*(ca.status(order(), TRANSACTION) for _ in range(20)))
        await ca.status(order(user="0100109106"), TRANSACTION)
    logins = [body["user_id"] for body in provider.bodies("login")]
    assert logins == [f"CMT_{USER}", "MST_0100109106"]


async def test_a_session_that_has_ended_is_renewed_once_for_all() -> None:
    again = {**golden("mysign", "login.answer"), "access_token": "tok-2"}
    logins = Turns([golden("mysign", "login.answer"), again])

    def handle(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("login"):
            return httpx.Response(200, json=logins.pop(0))
        ended = request.headers["authorization"] != "Bearer tok-2"
        return UNAUTHORISED if ended else httpx.Response(200, json={"status": "4000"})

    transport = httpx.MockTransport(handle)
    async with httpx.AsyncClient(transport=transport, base_url="http://mysign") as http:
        ca = mysign(Line(http))
        answers = await asyncio.gather(*(ca.status(order(), TRANSACTION) for _ in range(9)))
    assert [type(one) for one in answers] == [Pending] * 9
    assert logins == []


async def test_an_order_that_never_got_a_session_was_never_sent() -> None:
    refused = httpx.Response(400, json={"error": 86024, "error_description": "secret"})
    async with before(mysign, Provider({"login": refused})) as ca:
        assert await ca.submit(order()) == NeverSent("login: code 86024")
        listed = await ca.credentials(USER, "Viettel-CA")
        assert isinstance(listed, Unavailable)
        assert isinstance(await ca.status(order(), TRANSACTION), Unavailable)


async def test_an_order_that_left_and_was_answered_401_is_not_called_never_sent() -> None:
    refused = httpx.Response(400, json={"error": 86024})
    answers = {"login": Turns([LOGIN["ras/v1/login"], refused]), "signHash": UNAUTHORISED}
    async with before(mysign, Provider(answers)) as ca:
        assert isinstance(await ca.submit(order()), Unclear)
    async with before(mysign, Provider({**LOGIN, "signHash": UNAUTHORISED})) as ca:
        assert isinstance(await ca.submit(order()), Unclear)


async def test_a_person_whom_mysign_does_not_know_is_a_clear_no() -> None:
    unknown = httpx.Response(400, json={"error": 58008, "error_description": USER})
    async with before(mysign, Provider({"login": unknown})) as ca:
        answer = await ca.credentials(USER, "Viettel-CA")
    assert answer == Declined("failed", Reply("58008", "…"))


async def test_the_callback_only_names_what_to_ask_about() -> None:
    async with before(mysign, Provider({})) as ca:
        assert ca.called(orjson.dumps(golden("mysign", "webhook"))) == Called(TRANSACTION)
        for wrong in (b"", b"[]", b"{}", b'{"meta_data": {"transaction_id": 7}}'):
            with pytest.raises(Unreadable):
                ca.called(wrong)


@pytest.mark.parametrize("token", ["", None, 7, "a\nb", "x" * 20_000])
async def test_what_is_no_token_is_no_session(token: Any) -> None:
    async with before(mysign, Provider({"login": {"access_token": token}})) as ca:
        assert isinstance(await ca.submit(order()), NeverSent)


async def test_no_secret_is_told_of_a_login_that_failed() -> None:
    echoed = httpx.Response(400, json={"error": 1, "error_description": SECRETS["mysign"]})
    async with before(mysign, Provider({"login": echoed})) as ca:
        answer = await ca.credentials(USER, "Viettel-CA")
    assert SECRETS["mysign"] not in repr(answer)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Giấy chứng nhận đất ĐAI", "Giay chung nhan dat DAI"),
        ("a.pdf", "a pdf"),
        ("..", "document"),
        ("文", "document"),
        ("x" * 200, "x" * 72),
    ],
)
def test_names_are_put_in_the_letters_that_mysign_takes(name: str, expected: str) -> None:
    assert plain_name(name) == expected
