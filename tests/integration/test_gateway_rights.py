"""Rights = scope x agency subtree x procedure set: every route of every service against its rule.

The cases are made from the OpenAPI documents and from ``tests.support.rights``. All requests ask
for one dossier's things (``MINE``); only the token changes.
"""

import json
import secrets
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI

from tests.support import rights
from tests.support.databases import Databases
from tests.support.gateway import OTHER
from tests.support.rights import DESK, RULES, SCOPES, Rule, Verdict
from tests.support.rights_calls import Route, call_of
from tests.support.rights_world import (
    FOREIGN_PROCEDURE,
    World,
    whole_world,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

REFUSED = (401, 403)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    databases = Databases(postgres, f"t{secrets.token_hex(4)}")
    async with whole_world(databases, tmp_path_factory.mktemp("rights")) as made:
        yield made
    await databases.drop()


def documented(service: str, app: FastAPI) -> Iterator[tuple[str, str, str]]:
    """Operation, method and path of every route in a service's document."""
    for path, operations in app.openapi()["paths"].items():
        for method, operation in operations.items():
            yield operation["operationId"], method.upper(), path


def undocumented(app: FastAPI) -> Iterator[tuple[str, str]]:
    """Method and path of every route that stands in no document."""
    for included in app.routes:
        for route in getattr(getattr(included, "original_router", None), "routes", ()):
            if not route.include_in_schema:
                for method in sorted(route.methods - {"HEAD"}):
                    yield method, route.path


def routes(world: World) -> list[Route]:
    """Every documented route with its rule; those without fail in a test of their own."""
    return [
        Route(service, name, method, path, RULES[service][name])
        for service, app in world.apps.items()
        for name, method, path in documented(service, app)
        if name in RULES[service]
    ]


async def test_every_documented_route_has_a_rule_and_every_rule_a_route(world: World) -> None:
    for service, app in world.apps.items():
        names = {name for name, _, _ in documented(service, app)}
        assert names == RULES[service].keys(), f"{service}: {names ^ RULES[service].keys()}"


async def test_every_other_route_has_a_rule_too(world: World) -> None:
    for service, app in world.apps.items():
        known = DESK.keys() | rights.UNDOCUMENTED.get(service, {}).keys()
        told = {f"{method} {path}" for method, path in undocumented(app)}
        assert told <= known, f"{service}: {told - known}"
        assert "GET /internal/parked" in told


async def test_the_page_shows_the_rules() -> None:
    assert rights.PAGE.read_text() == rights.page(), "run python -m tests.support.rights"


async def asked(
    world: World,
    route: Route,
    client: str | None,
    scopes: list[str] | None = None,
    token: dict[str, str] | None = None,
) -> httpx.Response:
    """The answer to a route's request with a client's token."""
    call = call_of(route, world)
    if token is None:
        token = {} if client is None else world.bearer(client, scopes)
    content: bytes | None = None
    if call.body is not None:
        content = call.body if isinstance(call.body, bytes) else json.dumps(call.body).encode()
        call.headers.setdefault("content-type", "application/json")
    path = route.path.replace(":path}", "}").format(**call.path)
    return await world.http[route.service].request(
        route.method,
        path,
        params=call.query,
        content=content,
        headers={**token, **call.headers},
    )


@dataclass
class Faults:
    """What went against the rules; all of it is told at the end."""

    found: list[str] = field(default_factory=list)

    def unless(self, right: bool, route: Route, who: str, answer: httpx.Response) -> None:
        """Note an answer that is not right."""
        if not right:
            said = f"{answer.status_code} {answer.text[:300]}"
            self.found.append(f"{route.service} {route.name} as {who}: {said}")

    def none(self) -> None:
        """Fail where there are any."""
        assert not self.found, "\n".join(self.found)


async def test_without_a_good_token_nothing_but_public_routes_answers(world: World) -> None:
    faults = Faults()
    for route in routes(world):
        for token in ({}, {"authorization": "Bearer nonsense"}, {"authorization": "Basic eDp5"}):
            answer = await asked(world, route, None, token=token)
            if route.rule.scope is not None:
                faults.unless(answer.status_code == 401, route, "nobody", answer)
            elif not token and route.name not in ("token", "exchange_token", "revoke_token"):
                faults.unless(answer.status_code not in REFUSED, route, "nobody", answer)
    faults.none()


async def test_one_scope_opens_a_route_and_no_other(world: World) -> None:
    faults = Faults()
    for route in routes(world):
        needed = route.rule.scope
        if needed is None:
            continue
        others = sorted(SCOPES - {needed})
        for scopes in ([], others, *([scope] for scope in others)):
            answer = await asked(world, route, "everything", scopes)
            faults.unless(answer.status_code == 403, route, f"{scopes}", answer)
        answer = await asked(world, route, "everything", [needed])
        faults.unless(answer.status_code not in REFUSED, route, f"only {needed}", answer)
    faults.none()


async def test_a_token_that_names_no_procedure_opens_nothing(world: World) -> None:
    faults = Faults()
    for route in routes(world):
        if route.rule.scope is not None:
            answer = await asked(world, route, "no-procedure")
            # A search is put down whatever becomes of it, so it is judged where that is done.
            empty = route.name == "search_dossiers" and not answer.json().get("items", "-")
            faults.unless(answer.status_code == 403 or empty, route, "no procedure", answer)
    faults.none()


async def test_who_has_the_right_gets_the_thing_and_no_other(world: World) -> None:
    """The contrast to the refusals: without it, a route that refused everybody would pass."""
    faults = Faults()
    for route in routes(world):
        rule = route.rule
        verdicts = (rule.agency, rule.procedure, rule.own)
        if "all" in verdicts or rule.scope is None or route.name in ("accounts", "check"):
            continue  # the one account there is speaks for more agencies than one
        answer = await asked(world, route, "right")
        status, text = answer.status_code, answer.text
        faults.unless(status not in REFUSED, route, "right", answer)
        if "404" in verdicts:
            faults.unless(status != 404, route, "right", answer)
        if "hidden" in verdicts:
            mine, *others = call_of(route, world).shows
            faults.unless(status == 200 and mine in text, route, "right", answer)
            faults.unless(not any(other in text for other in others), route, "right", answer)
    faults.none()


@pytest.mark.parametrize("client", ["foreign-agency", "foreign-procedure", "another"])
async def test_a_foreign_thing_is_answered_by_the_rule(world: World, client: str) -> None:
    faults = Faults()
    for route in routes(world):
        if route.rule.scope is None:
            continue
        # Who has all rights sees the imports of all, so that another operator has to have fewer.
        everybodys = client == "another" and route.service == "dossier"
        asking = "foreign-agency" if everybodys and route.rule.own != "free" else client
        answer = await asked(world, route, asking)
        faults.unless(
            _by_rule(_verdict(route.rule, client), route, world, answer), route, client, answer
        )
    faults.none()


def _verdict(rule: Rule, client: str) -> Verdict:
    match client:
        case "foreign-agency":
            return rule.agency
        case "foreign-procedure":
            return rule.procedure
        case _:
            return rule.own


def _by_rule(verdict: Verdict, route: Route, world: World, answer: httpx.Response) -> bool:
    match verdict:
        case "403" | "all":
            return answer.status_code == 403 and b"forbidden" in answer.content
        case "404":
            return answer.status_code == 404
        case "hidden":
            return answer.status_code == 200 and call_of(route, world).shows[0] not in answer.text
        case "line":
            counted = answer.text.startswith("{") and "\n" not in answer.text.strip()
            refused = b"forbidden" in answer.content
            return refused or (counted and answer.json().get("refused") == 1)
        case "free" | "out of sight":
            return answer.status_code not in REFUSED


async def test_the_desk_of_every_service_is_for_operators_of_all_procedures(world: World) -> None:
    for service in world.http:
        for line, rule in (*DESK.items(), *rights.UNDOCUMENTED.get(service, {}).items()):
            if rule.scope is None:
                continue
            needed, others = [rule.scope], sorted(SCOPES - {rule.scope, rule.instead})
            assert await at_the_desk(world, service, line, {}) == 401, (service, line)
            for client, scopes, refused in (
                ("everything", others, True),
                ("everything", needed, False),
                ("foreign-procedure", needed, rule.procedure == "all"),
                ("foreign-agency", needed, rule.agency == "all"),
            ):
                status = await at_the_desk(world, service, line, world.bearer(client, scopes))
                assert (status == 403) == refused, (service, line, client, status)
                assert status != 401, (service, line, client)


async def at_the_desk(world: World, service: str, line: str, token: dict[str, str]) -> int:
    """The status of an answer to an operator."""
    method, path = line.split()
    query: dict[str, Any] = {}
    if path in ("/internal/events", "/internal/log"):
        query = {"aggregate": "x", "epoch": 1, "first": 1, "last": 1, "types": "x"}
        query["after"] = "00000000-0000-0000-0000-000000000000"
    answer = await world.http[service].request(
        method,
        path.format(id=1, action="retry", exchange_id=world.submission),
        params=query,
        headers={**token, "content-type": "application/json"},
        content=b'{"reason": "xem"}' if method == "POST" else None,
    )
    return answer.status_code


async def test_lists_asked_for_a_foreign_agency_or_procedure_are_refused(world: World) -> None:
    for service in ("gateway", "dossier"):
        http = world.http[service]
        for query in ({"agency": OTHER}, {"procedure": FOREIGN_PROCEDURE}):
            answer = await http.get("/v1/dossiers", params=query, headers=world.bearer("right"))
            assert answer.status_code == 403, (service, query, answer.text)
