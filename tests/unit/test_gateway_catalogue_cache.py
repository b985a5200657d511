"""What the gateway keeps of the catalogue for when its service is away."""

from collections.abc import Mapping

import pytest

from common.errors import Upstream
from gateway.clients import Answer, Catalogue
from gateway.clients.catalogue import LARGEST_KEPT
from gateway.errors import UpstreamAway

CACHING = "max-age=0, stale-if-error=86400"


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Service:
    """The catalogue's service: answers with its body, or 304 to whoever has its tag."""

    def __init__(self, body: bytes = b'{"code":"H56"}', control: str = CACHING) -> None:
        self.body, self.tag, self.control = body, '"a"', control
        self.status = 200
        self.away: Exception | None = None
        self.asked: list[Mapping[str, str]] = []

    async def get(
        self, path: str, query: Mapping[str, str | int], headers: Mapping[str, str]
    ) -> Answer:
        self.asked.append(headers)
        if self.away:
            raise self.away
        told = {"etag": self.tag, "cache-control": self.control, "content-type": "application/json"}
        if headers.get("if-none-match") == self.tag:
            return Answer(304, told, b"")
        return Answer(self.status, told, self.body)


def kept(service: Service, most: int = 10**6, clock: Clock | None = None) -> Catalogue:
    return Catalogue(service, most, clock or Clock())  # type: ignore[arg-type]


async def read(catalogue: Catalogue, path: str = "/v1/agencies", **query: str) -> Answer:
    return await catalogue.get(path, query, {"if-none-match": '"the client\'s"', "accept": "x"})


async def test_each_read_is_asked_for_again_and_sent_once() -> None:
    service = Service()
    catalogue = kept(service)
    first = await read(catalogue)
    assert first.headers["cache-status"] == "gateway; fwd=uri-miss; fwd-status=200; stored"
    second = await read(catalogue)
    assert (second.status, second.content) == (200, service.body)
    assert second.headers["cache-status"] == "gateway; fwd=stale; fwd-status=304"
    # The client's own condition is for the caller to judge.
    assert [asked.get("if-none-match") for asked in service.asked] == [None, '"a"']


async def test_what_changed_is_seen_at_once() -> None:
    service = Service()
    catalogue = kept(service)
    await read(catalogue)
    service.body, service.tag = b'{"code":"new"}', '"b"'
    assert (await read(catalogue)).content == b'{"code":"new"}'
    service.away = UpstreamAway()
    assert (await read(catalogue)).content == b'{"code":"new"}'


@pytest.mark.parametrize("failure", [UpstreamAway(), Upstream()])
async def test_while_the_service_fails_the_last_answer_stands_in(failure: Exception) -> None:
    service, clock = Service(), Clock()
    catalogue = kept(service, clock=clock)
    await read(catalogue)
    service.away = failure
    clock.now += 3600
    answer = await read(catalogue)
    assert (answer.status, answer.content, answer.headers["age"]) == (200, service.body, "3600")
    assert answer.headers["cache-status"] == (
        "gateway; fwd=stale; ttl=-3600; detail=stale-if-error"
    )
    with pytest.raises(type(failure)):
        await read(catalogue, "/v1/agencies", parent="H56")  # never read before


async def test_it_stands_in_for_as_long_as_the_service_allowed() -> None:
    service, clock = Service(), Clock()
    catalogue = kept(service, clock=clock)
    await read(catalogue)
    clock.now += 80_000
    await read(catalogue)  # known to be good until now
    service.away = UpstreamAway()
    clock.now += 86_400
    await read(catalogue)
    clock.now += 1
    with pytest.raises(UpstreamAway):
        await read(catalogue)


async def test_what_is_fresh_is_not_asked_for() -> None:
    service, clock = Service(control="max-age=60"), Clock()
    catalogue = kept(service, clock=clock)
    await read(catalogue)
    clock.now += 59
    assert (await read(catalogue)).headers["cache-status"] == "gateway; hit; ttl=1"
    assert len(service.asked) == 1
    clock.now += 1
    await read(catalogue)
    assert len(service.asked) == 2
    service.away = UpstreamAway()
    clock.now += 61
    with pytest.raises(UpstreamAway):  # nothing was said of errors
        await read(catalogue)


@pytest.mark.parametrize(
    "control",
    [
        "",
        "no-store",
        "private, stale-if-error=60",
        "no-cache, stale-if-error=60",
        "no-store,max-age=9",
    ],
)
async def test_what_may_not_be_kept_is_not(control: str) -> None:
    service = Service(control=control)
    catalogue = kept(service)
    await read(catalogue)
    service.away = UpstreamAway()
    with pytest.raises(UpstreamAway):
        await read(catalogue)


async def test_what_is_gone_does_not_come_back() -> None:
    service = Service()
    catalogue = kept(service)
    await read(catalogue)
    service.status, service.tag = 404, '"none"'
    assert (await read(catalogue)).status == 404
    assert catalogue.size == 0
    service.away = UpstreamAway()
    with pytest.raises(UpstreamAway):
        await read(catalogue)


async def test_memory_is_bounded_and_the_least_used_goes_first() -> None:
    service = Service(body=b"x" * 9000)
    catalogue = kept(service, most=50_000)
    for number in range(100):
        await read(catalogue, f"/v1/agencies/H{number}")
        await read(catalogue, "/v1/agencies/H0")
        assert catalogue.size <= 50_000
    service.away = UpstreamAway()
    assert (await read(catalogue, "/v1/agencies/H0")).content == service.body
    with pytest.raises(UpstreamAway):
        await read(catalogue, "/v1/agencies/H50")
    large = Service(body=b"x" * (LARGEST_KEPT + 1))
    catalogue = kept(large, most=10**9)
    await read(catalogue)
    assert catalogue.size == 0


async def test_queries_are_kept_apart_whatever_their_order() -> None:
    service = Service()
    catalogue = kept(service)
    await catalogue.get("/v1/procedures", {"q": "a", "limit": 5}, {})
    service.body, service.tag = b"other", '"o"'
    await catalogue.get("/v1/procedures", {"q": "b", "limit": 5}, {})
    service.away = UpstreamAway()
    found = await catalogue.get("/v1/procedures", {"limit": 5, "q": "a"}, {})
    assert found.content == b'{"code":"H56"}'
