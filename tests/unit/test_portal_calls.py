"""Calls to the portal: one login for many, a session renewed once, and what a failure means."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import aiohttp
import httpx
import pytest
from pydantic import SecretStr

from national_portal_sync.clients.answers import Verdict
from national_portal_sync.clients.portal import (
    Account,
    LoginRefused,
    NationalPortal,
    NoAnswer,
    NotTaken,
)

ACCOUNT = Account(
    login_url="http://portal/login",
    call_url="http://portal/",
    username="tinh",
    password=SecretStr("mat-khau"),
    unit="H10",
    dstcode="G22",
)
DONE = {"error_code": "0", "message": "Thành công"}
LOST = {"error_code": "-3", "message": "Phiên làm việc đã hết hạn"}


class Portal:
    """A portal that answers as told; a session is good until it is ended."""

    def __init__(self) -> None:
        self.logins = 0
        self.calls: list[dict[str, Any]] = []
        self.headers: list[httpx.Headers] = []
        self.good: str | None = None
        self.ends = 0
        self.login_answer: Callable[[], httpx.Response] | None = None
        self.answer: Callable[[], httpx.Response] = lambda: httpx.Response(200, json=DONE)

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(0.005)
        body = json.loads(request.content)
        self.headers.append(request.headers)
        if request.url.path == "/login":
            self.logins += 1
            if self.login_answer:
                return self.login_answer()
            assert body == {"username": "tinh", "password": "mat-khau"}
            self.good = f"s{self.logins}"
            return httpx.Response(200, json={"session": self.good, "error_code": "0"})
        self.calls.append(body)
        if self.ends > 0:
            self.ends -= 1
            self.good = None
        if body["session"] != self.good:
            return httpx.Response(200, json=LOST)
        return self.answer()


@pytest.fixture
def portal() -> Portal:
    return Portal()


@pytest.fixture
def client(portal: Portal) -> NationalPortal:
    http = httpx.AsyncClient(transport=httpx.MockTransport(portal))
    return NationalPortal(http, ACCOUNT, seconds=0.5)


async def test_a_call_is_an_envelope_with_session_unit_and_service(
    portal: Portal, client: NationalPortal
) -> None:
    await client.sync([{"MaHoSo": "a"}], update=False)
    await client.sync([{"MaHoSo": "a"}], update=True)
    await client.progress([{"MaHoSo": "a"}])
    await client.look_up("a")
    common = {"session": "s1", "madonvi": "H10"}
    data = [{"MaHoSo": "a"}]
    assert portal.calls == [
        {**common, "service": "DongBoHoSoMC", "isUpdating": "False", "data": data},
        {**common, "service": "DongBoHoSoMC", "isUpdating": "True", "data": data},
        {**common, "service": "CapNhatTienDoHoSoMC", "data": data},
        {**common, "service": "TraCuuHoSo", "mahoso": "a"},
    ]
    assert portal.logins == 1
    assert {headers["dstcode"] for headers in portal.headers} == {"G22"}


async def test_many_calls_that_find_the_session_ended_share_one_login(
    portal: Portal, client: NationalPortal
) -> None:
    await client.look_up("a")
    portal.good = None
    answers = await asyncio.gather(*(client.look_up("a") for _ in range(10)))
    assert {answer.verdict for answer in answers} == {Verdict.DONE}
    assert portal.logins == 2


async def test_a_session_that_ends_again_at_once_is_not_chased(
    portal: Portal, client: NationalPortal
) -> None:
    portal.ends = 5
    with pytest.raises(NotTaken, match="session not taken"):
        await client.look_up("a")
    assert (portal.logins, len(portal.calls)) == (2, 2)


async def test_an_unauthorised_call_is_a_lost_session(
    portal: Portal, client: NationalPortal
) -> None:
    answers = iter([httpx.Response(401), httpx.Response(200, json=DONE)])
    portal.answer = lambda: next(answers)
    assert (await client.look_up("a")).verdict is Verdict.DONE
    assert portal.logins == 2


async def test_a_refused_login_means_that_nothing_was_done_and_is_not_hammered(
    portal: Portal, client: NationalPortal
) -> None:
    wrong = {"session": "", "error_code": "-1", "message": "Sai mật khẩu"}
    portal.login_answer = lambda: httpx.Response(200, json=wrong)
    outcomes = await asyncio.gather(
        *(client.look_up("a") for _ in range(5)), return_exceptions=True
    )
    assert [type(outcome) for outcome in outcomes] == [LoginRefused] * 5
    assert "mat-khau" not in str(outcomes)
    assert (portal.logins, portal.calls) == (1, [])


async def test_a_login_without_answer_means_that_the_call_was_not_taken(
    portal: Portal, client: NationalPortal
) -> None:
    portal.login_answer = lambda: httpx.Response(502)
    with pytest.raises(NotTaken, match="login: HTTP 502"):
        await client.look_up("a")


@pytest.mark.parametrize(
    ("response", "trouble", "pause"),
    [
        (lambda: httpx.Response(503, headers={"retry-after": "7"}), NotTaken, 7.0),
        (lambda: httpx.Response(429, headers={"retry-after": "7"}), NotTaken, 7.0),
        (lambda: httpx.Response(429), NotTaken, 5.0),
        (lambda: httpx.Response(503), NoAnswer, None),
        (lambda: httpx.Response(500, json=DONE), NoAnswer, None),
        (lambda: httpx.Response(502, text="<html>"), NoAnswer, None),
        (lambda: httpx.Response(504), NoAnswer, None),
        (lambda: httpx.Response(404, text="x"), NotTaken, None),
        (lambda: httpx.Response(403), NotTaken, None),
        (lambda: httpx.Response(302, headers={"location": "/"}), NotTaken, None),
        (lambda: httpx.Response(200, text="<html>502 Bad Gateway</html>"), NoAnswer, None),
        (lambda: httpx.Response(200, text=""), NoAnswer, None),
        (lambda: httpx.Response(200, json=["x"]), NoAnswer, None),
        (lambda: httpx.Response(200, content=b"\xff\xfe{}"), NoAnswer, None),
        (lambda: httpx.Response(200, json={**DONE, "x": "y" * 9_000_000}), NoAnswer, None),
    ],
)
async def test_what_a_call_without_an_answer_may_have_done(
    portal: Portal,
    client: NationalPortal,
    response: Callable[[], httpx.Response],
    trouble: type[Exception],
    pause: float | None,
) -> None:
    portal.answer = response
    with pytest.raises(trouble) as raised:
        await client.progress([])
    assert raised.value.pause == pause  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("response", "code"),
    [
        (lambda: httpx.Response(400, json={"error_code": "-2", "message": "sai"}), "-2"),
        (lambda: httpx.Response(413, text="too large"), "413"),
        (lambda: httpx.Response(422, text=""), "422"),
    ],
)
async def test_a_call_whose_content_is_refused_is_an_answer(
    portal: Portal, client: NationalPortal, response: Callable[[], httpx.Response], code: str
) -> None:
    portal.answer = response
    answer = await client.progress([])
    assert (answer.verdict, answer.code) == (Verdict.REFUSED, code)


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


KEY: Any = None


@pytest.mark.parametrize(
    ("error", "trouble"),
    [
        (
            caused(httpx.ConnectError("x"), aiohttp.ClientConnectorError(KEY, OSError(111, "x"))),
            NotTaken,
        ),
        (caused(httpx.ConnectTimeout("x"), aiohttp.ConnectionTimeoutError()), NotTaken),
        (caused(httpx.ConnectTimeout("x"), aiohttp.ServerDisconnectedError()), NoAnswer),
        (httpx.ReadTimeout("x"), NoAnswer),
        (httpx.ReadError("x"), NoAnswer),
        (aiohttp.ClientPayloadError("x"), NoAnswer),
        (OSError("x"), NoAnswer),
    ],
)
async def test_only_a_call_that_never_left_is_certain_not_to_be_done(
    portal: Portal, client: NationalPortal, error: Exception, trouble: type[Exception]
) -> None:
    def fail() -> httpx.Response:
        raise error

    portal.answer = fail
    with pytest.raises(trouble):
        await client.progress([])


async def test_a_call_takes_no_longer_than_it_may(portal: Portal) -> None:
    async def drip() -> Any:
        while True:
            yield b" "
            await asyncio.sleep(0.01)

    portal.answer = lambda: httpx.Response(200, content=drip())
    http = httpx.AsyncClient(transport=httpx.MockTransport(portal))
    async with asyncio.timeout(2):
        with pytest.raises(NoAnswer):
            await NationalPortal(http, ACCOUNT, seconds=0.1).progress([])
