"""The CSC API, v1.0.4.0 and v2, by golden files, and what every kind of answer is taken for."""

import base64
from typing import Any
from urllib.parse import parse_qs

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
    NotKnown,
    Pending,
    Reply,
    Signed,
    Unavailable,
    Unclear,
    Unreadable,
)
from signature_connector.providers import csc_v2 as csc_v2_module
from tests.support.signing_dialects import (
    FIRST,
    SECOND,
    SECRETS,
    USER,
    Provider,
    Turns,
    before,
    csc_v1,
    csc_v2,
    golden,
    order,
)

RESPONSE_ID = "158112-652341-khj"
V1 = {
    "oauth2/token": golden("csc_v1", "login.answer"),
    "credentials/authorize": golden("csc_v1", "authorize.answer"),
    "signatures/signHash": golden("csc_v1", "signHash.answer"),
}
V2 = {
    "oauth2/token": golden("csc_v2", "login.answer"),
    "credentials/authorize": golden("csc_v2", "authorize.answer"),
    "signatures/signHash": golden("csc_v2", "signHash.accepted"),
}
PSS = order(mechanism="rsassa_pss")
BOTH = {FIRST: b"signature one", SECOND: b"signature two"}
ERRORS = [
    {"error": "invalid_request", "error_description": "Numbers of signatures is too high"},
    {"error": "unauthorized_client"},
]


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csc_v2_module, "_LEAST_PAUSE", 0.01)


def refused(body: Any, status: int = 400) -> httpx.Response:
    return httpx.Response(status, json=body)


async def first(answers: Any) -> Any:
    async with before(csc_v1, Provider({**answers} | V1)) as ca:
        return await ca.submit(PSS)


async def second(answers: Any, **changed: Any) -> Any:
    async with before(lambda line: csc_v2(line, **changed), Provider({**answers} | V2)) as ca:
        return await ca.submit(PSS)


async def polled(answer: Any) -> Any:
    async with before(csc_v2, Provider({"signPolling": answer} | V2)) as ca:
        return await ca.status(PSS, RESPONSE_ID)


# Credentials.


async def test_v1_lists_and_then_asks_of_each_as_in_the_golden_files() -> None:
    infos = Turns([golden("csc_v1", "info.answer"), golden("csc_v1", "info.explicit")])
    answers = {"list": golden("csc_v1", "list.answer"), "info": infos, **V1}
    provider = Provider(answers)
    async with before(csc_v1, provider) as ca:
        answer = await ca.credentials(USER, "FPT-CA")
    assert provider.bodies("/base/credentials/list") == [golden("csc_v1", "list.request")]
    assert provider.bodies("/base/credentials/info")[0] == golden("csc_v1", "info.request")
    form = parse_qs(provider.calls("/base/oauth2/token")[0].content.decode())
    assert form == {
        "grant_type": ["client_credentials"],
        "scope": ["service"],
        "client_id": ["lien-thong"],
        "client_secret": [SECRETS["csc"]],
    }
    assert isinstance(answer, Credentials)
    assert answer.found == [
        Credential(b"\x30\x82\x01\x93", "5AAC41CD8FA22B95", "GX0112348", (b"\x30\x82\x01\x94",))
    ]


async def test_v2_tells_all_in_its_list_as_in_the_golden_files() -> None:
    provider = Provider({"list": golden("csc_v2", "list.answer"), **V2})
    async with before(csc_v2, provider) as ca:
        answer = await ca.credentials(USER, "FPT-CA")
    assert provider.bodies("credentials/list") == [golden("csc_v2", "list.request")]
    assert [one.transaction_id for one in answer.found] == ["GX0112348"]


async def test_a_credential_that_needs_a_secret_of_the_person_is_none_for_us() -> None:
    answers = {
        "list": {"credentialIDs": ["A"]},
        "info": golden("csc_v1", "info.explicit"),
        **V1,
    }
    async with before(csc_v1, Provider(answers)) as ca:
        answer = await ca.credentials(USER, "FPT-CA")
    assert isinstance(answer, Declined)
    assert answer.reply == Reply("authMode", "needs a secret of the person")


async def test_a_login_with_basic_authentication() -> None:
    answers = {"auth/login": golden("csc_v1", "login.answer"), "list": {"credentialIDs": []}}
    provider = Provider(answers)
    async with before(lambda line: csc_v1(line, login="basic"), provider) as ca:
        assert isinstance(await ca.credentials(USER, "FPT-CA"), Credentials)
    pair = base64.b64encode(f"lien-thong:{SECRETS['csc']}".encode()).decode()
    assert provider.calls("auth/login")[0].headers["authorization"] == f"Basic {pair}"


@pytest.mark.parametrize(
    "answers",
    [
        {"list": b""},
        {"list": {"credentialIDs": 7}},
        {"list": {"credentialIDs": ["A"]}, "info": {"cert": {"certificates": ["%"]}}},
        {"list": {"credentialIDs": ["A"]}, "info": httpx.Response(503)},
        {"list": httpx.Response(429, headers={"retry-after": "2"})},
        {"oauth2/token": httpx.Response(401, json={"error": "invalid_client"})},
    ],
)
async def test_credentials_that_cannot_be_had_now_are_asked_for_again(answers: Any) -> None:
    async with before(csc_v1, Provider({**answers} | V1)) as ca:
        assert isinstance(await ca.credentials(USER, "FPT-CA"), Unavailable)


# The first version.


async def test_v1_authorises_and_signs_as_in_the_golden_files() -> None:
    provider = Provider(V1)
    async with before(csc_v1, provider) as ca:
        answer = await ca.submit(PSS)
        assert (ca.abilities.waits, ca.abilities.confirms) == (True, "nothing")
        assert isinstance(await ca.status(PSS, None), Unavailable)
        with pytest.raises(Unreadable):
            ca.called(b"{}")
    assert provider.bodies("credentials/authorize") == [golden("csc_v1", "authorize.request")]
    assert provider.bodies("signHash") == [golden("csc_v1", "signHash.request")]
    assert answer == Signed(BOTH, Reply())


@pytest.mark.parametrize(
    ("mechanism", "digest", "named"),
    [
        ("rsassa_pkcs1v15", "sha256", ("2.16.840.1.101.3.4.2.1", "1.2.840.113549.1.1.1", None)),
        ("ecdsa", "sha384", ("2.16.840.1.101.3.4.2.2", "1.2.840.10045.4.3.3", None)),
    ],
)
async def test_v1_names_the_algorithms_asked_for(mechanism: Any, digest: Any, named: Any) -> None:
    provider = Provider(V1)
    async with before(csc_v1, provider) as ca:
        await ca.submit(order(mechanism=mechanism, digest_algorithm=digest))
    (asked,) = provider.bodies("signHash")
    assert (asked["hashAlgo"], asked["signAlgo"], asked.get("signAlgoParams")) == named


async def test_v1_a_person_who_denies_is_told_apart() -> None:
    answer = await first({"authorize": refused(golden("csc_v1", "authorize.refused"))})
    assert answer == Declined(
        "rejected-by-user", Reply("access_denied", "The user … denied the request")
    )
    answer = await first({"signHash": refused(golden("csc_v1", "signHash.expired"))})
    assert isinstance(answer, Declined)
    assert answer.outcome == "expired"


@pytest.mark.parametrize("where", ["authorize", "signHash"])
@pytest.mark.parametrize("error", ERRORS)
async def test_an_error_of_the_api_means_that_nothing_was_signed(where: str, error: Any) -> None:
    for answer in (await first({where: refused(error)}), await second({where: refused(error)})):
        assert isinstance(answer, Declined)
        assert answer.outcome == "failed"


@pytest.mark.parametrize("where", ["authorize", "signHash"])
@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"[]",
        b"{}",
        {"SAD": "", "signatures": []},
        {"SAD": 7, "signatures": ["AAAA"]},
        {"signatures": ["%", "%"]},
        httpx.Response(500, json={"error": "access_denied"}),
        httpx.Response(429, json={"error": "invalid_request"}),
        httpx.Response(400, json={"error": "temporarily_unavailable"}),
        httpx.Response(400, json={"error": 7}),
        httpx.Response(400, content=b"<html>"),
        httpx.Response(302, headers={"location": "/"}),
        httpx.ReadTimeout("slow"),
        httpx.RemoteProtocolError("broken"),
    ],
)
async def test_any_other_answer_is_unclear(where: str, answer: Any) -> None:
    assert isinstance(await first({where: answer}), Unclear)
    assert isinstance(await second({where: answer}), Unclear)


async def test_after_the_person_confirmed_nothing_counts_as_never_sent() -> None:
    broken = httpx.UnsupportedProtocol("not a byte has left")
    provider = Provider({"signHash": broken} | V1)
    async with before(csc_v1, provider) as ca:
        assert isinstance(await ca.submit(PSS), Unclear)
    assert len(provider.calls("signHash")) == 3
    assert len(provider.calls("authorize")) == 1
    provider = Provider({"signHash": Turns([broken, V1["signatures/signHash"]])} | V1)
    async with before(csc_v1, provider) as ca:
        assert isinstance(await ca.submit(PSS), Signed)
    assert isinstance(await second({"signHash": broken}), Unclear)


async def test_before_anything_has_left_an_order_was_never_sent() -> None:
    broken = httpx.UnsupportedProtocol("not a byte has left")
    for answers in ({"authorize": broken}, {"token": broken}, {"token": refused({}, 400)}):
        assert isinstance(await first(answers), NeverSent)
        assert isinstance(await second(answers), NeverSent)
    assert isinstance(await second({"signHash": broken}, confirmation="provider"), NeverSent)


async def test_no_sad_and_no_secret_is_ever_in_a_reply() -> None:
    quoted = f"sad-of-this-order {SECRETS['csc']} {USER} {'t0k' * 20}: hash is bad"
    answer = await first({"signHash": refused({"error": "e", "error_description": quoted})})
    assert answer.reply.message == "… … … … hash is bad"


# The second version.


async def test_v2_authorises_signs_and_polls_as_in_the_golden_files() -> None:
    provider = Provider({"signPolling": golden("csc_v2", "signPolling.answer")} | V2)
    async with before(csc_v2, provider) as ca:
        accepted = await ca.submit(PSS)
        assert accepted == Accepted(RESPONSE_ID, Reply(transaction_id=RESPONSE_ID))
        answer = await ca.status(PSS, accepted.submission)
        assert isinstance(await ca.status(PSS, None), Unavailable)
    assert provider.bodies("credentials/authorize") == [golden("csc_v2", "authorize.request")]
    assert provider.bodies("signHash") == [golden("csc_v2", "signHash.request")]
    assert provider.bodies("signPolling") == [golden("csc_v2", "signPolling.request")]
    assert answer == Signed(BOTH, Reply())


async def test_v2_waits_by_the_handle_until_the_person_has_confirmed() -> None:
    later = httpx.Response(202, json={"handle": "another"})
    checks = Turns([later, httpx.Response(503), httpx.ReadTimeout(""), V2["credentials/authorize"]])
    handle = httpx.Response(202, json=golden("csc_v2", "authorize.handle"))
    provider = Provider({"authorizeCheck": checks, **V2, "credentials/authorize": handle})
    async with before(csc_v2, provider) as ca:
        assert ca.abilities.waits
        assert isinstance(await ca.submit(PSS), Accepted)
    asked = provider.bodies("authorizeCheck")
    assert asked[0] == golden("csc_v2", "authorizeCheck.request")
    assert [one["handle"] for one in asked[1:]] == ["another"] * 3
    assert len(provider.calls("credentials/authorize")) == 1


async def test_v2_a_person_who_does_not_confirm_in_time_is_unclear() -> None:
    handle = httpx.Response(202, json=golden("csc_v2", "authorize.handle"))
    answers = {"authorizeCheck": handle, "authorize": handle}
    answer = await second(answers, user_seconds=0.2)
    assert isinstance(answer, Unclear)
    assert answer.timed_out


async def test_v2_a_person_who_refuses_by_the_handle_is_told_apart() -> None:
    handle = httpx.Response(202, json=golden("csc_v2", "authorize.handle"))
    no = refused(golden("csc_v1", "authorize.refused"))
    provider = Provider({"authorizeCheck": no, **V2, "credentials/authorize": handle})
    async with before(csc_v2, provider) as ca:
        answer = await ca.submit(PSS)
    assert isinstance(answer, Declined)
    assert answer.outcome == "rejected-by-user"


async def test_v2_where_the_provider_asks_the_person_itself_no_sad_is_sent() -> None:
    provider = Provider(V2)
    make = lambda line: csc_v2(line, confirmation="provider", response_uri="https://we/called")  # noqa: E731
    async with before(make, provider) as ca:
        assert not ca.abilities.waits
        assert isinstance(await ca.submit(PSS), Accepted)
        provider.answers = {"list": golden("csc_v2", "list.answer"), **V2}
        listed = await ca.credentials(USER, "FPT-CA")
        assert len(listed.found) == 2
    (asked,) = provider.bodies("signHash")
    assert "SAD" not in asked
    assert asked["response_uri"] == "https://we/called"
    assert not provider.calls("credentials/authorize")


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (httpx.Response(202, json=golden("csc_v2", "signPolling.waiting")), Pending),
        (httpx.Response(202, content=b""), Pending),
        (refused(golden("csc_v2", "signPolling.waiting-as-seen")), Pending),
        (refused(golden("csc_v2", "signPolling.unknown")), NotKnown),
        (refused({"error": "access_denied"}), Declined),
        (refused({"error": "invalid_request", "error_description": "?"}), Unavailable),
        (httpx.Response(503, headers={"retry-after": "1"}), Unavailable),
        ({"signatures": []}, Unavailable),
        ({"signatures": ["AAAA"]}, Unavailable),
        ({}, Unavailable),
        (b"<html>", Unavailable),
    ],
)
async def test_v2_what_polling_says(answer: Any, kind: type) -> None:
    assert isinstance(await polled(answer), kind)


async def test_v2_a_notification_only_names_what_to_ask_about() -> None:
    async with before(csc_v2, Provider({})) as ca:
        told = golden("csc_v2", "notification")
        assert ca.called(orjson.dumps(told)) == Called(RESPONSE_ID)
        for wrong in (b"", b"[]", b"{}", b'{"responseID": 7}'):
            with pytest.raises(Unreadable):
                ca.called(wrong)
