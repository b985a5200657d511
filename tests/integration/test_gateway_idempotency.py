"""Whatever a client repeats, in whatever order, at whichever replica: what was taken in once stays
one, and what was said of it stays so.

A model of what the gateway has promised is kept beside the gateway; hypothesis looks for a history
in which they differ.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.integration.test_gateway_bulk import lines_of, ndjson, send
from tests.support.databases import Databases
from tests.support.gateway import (
    AGENCY,
    RunningGateway,
    dossier_code,
    gateway_database,
    running_gateway,
    step,
    submission,
)

REPLAYED = "idempotent-replayed"
KEYS = st.sampled_from(["", "k-1", "k-2"])
NUMBERS = st.integers(1, 2)
SUMMARIES = st.sampled_from(["Một", "Hai"])


@dataclass(frozen=True)
class Request:
    """What a client asks; ``number`` 0 is a dossier without a code, or else its code's."""

    kind: str
    key: str
    number: int
    said: str
    condition: str = ""

    @property
    def identity(self) -> tuple[str, ...]:
        return (self.kind, str(self.number), self.said, self.condition)

    def body(self, base: int) -> dict[str, Any]:
        if self.kind == "step":
            return step("progress", note=self.said)
        body = submission(dossier_code(base + self.number), summary=self.said)
        if not self.number:
            del body["code"]
            body["agency"] = AGENCY
        return body


SUBMITS = st.builds(Request, st.just("submit"), KEYS, NUMBERS, SUMMARIES)
WITHOUT = st.builds(
    Request, st.just("submit"), st.sampled_from(["k-1", "k-2"]), st.just(0), SUMMARIES
)
STEPS = st.builds(
    Request,
    st.just("step"),
    st.sampled_from(["k-1", "k-2"]),
    NUMBERS,
    SUMMARIES,
    st.sampled_from(["", '"1"', '"2"']),
)
ACTIONS = st.one_of(
    st.tuples(st.just("ask"), SUBMITS | WITHOUT | STEPS),
    st.tuples(st.just("twins"), SUBMITS | WITHOUT | STEPS),
    st.tuples(st.just("refuse"), st.integers(0, 5)),
    st.tuples(st.just("apply"), st.integers(0, 5)),
    st.tuples(st.just("bulk"), st.lists(SUMMARIES, min_size=1, max_size=3)),
)


@dataclass
class Taken:
    """A submission as the model knows it."""

    id: str
    request: Request
    state: str = "pending"


@dataclass
class Model:
    """What has been promised.

    Attributes:
        by_key: the submission that each key belongs to, for good.
        lines: what each line of the bulk request said when it was taken in.
    """

    taken: list[Taken] = field(default_factory=list)
    by_key: dict[str, Taken] = field(default_factory=dict)
    lines: dict[int, tuple[str, str]] = field(default_factory=dict)

    def expected(self, request: Request) -> Taken | str | None:
        """What the request repeats, the problem it is, or None where it is new."""
        if request.key and (found := self.by_key.get(request.key)):
            same = found.request.identity == request.identity
            return found if same else "idempotency-key-reused"
        if request.kind == "step" or not request.number:
            return None
        of_code = [
            one
            for one in self.taken
            if one.request.kind == "submit" and one.request.number == request.number
        ]
        if not request.key:
            for one in of_code:
                if not one.request.key and one.request.said == request.said:
                    return one
        for one in of_code:
            if one.state != "refused":
                return one if one.request.said == request.said else "dossier-code-taken"
        return None

    def add(self, identifier: str, request: Request) -> None:
        taken = Taken(identifier, request)
        self.taken.append(taken)
        if request.key:
            self.by_key[request.key] = taken


class History:
    """One history at two replicas, with codes and keys of its own."""

    def __init__(self, replicas: list[RunningGateway], number: int) -> None:
        self.replicas = replicas
        self.base = number * 10
        self.model = Model()
        self.turn = 0

    def replica(self) -> RunningGateway:
        self.turn += 1
        return self.replicas[self.turn % 2]

    async def send(self, request: Request) -> httpx.Response:
        gateway = self.replica()
        key = f"{self.base}-{request.key}" if request.key else ""
        body = request.body(self.base)
        if request.kind == "submit":
            return await gateway.submit(body, idempotency_key=key)
        code = dossier_code(self.base + request.number)
        return await gateway.take_step(body, code, idempotency_key=key, if_match=request.condition)

    async def ask(self, request: Request) -> None:
        self.judge(request, [await self.send(request)])

    async def twins(self, request: Request) -> None:
        self.judge(request, await asyncio.gather(*(self.send(request) for _ in range(4))))

    def judge(self, request: Request, answers: list[httpx.Response]) -> None:
        expected = self.model.expected(request)
        if isinstance(expected, str):
            for answer in answers:
                assert answer.status_code in {409, 422}
                assert answer.json()["type"].endswith(f":{expected}")
            return
        assert {answer.status_code for answer in answers} == {202}, answers[0].text
        (identifier,) = {answer.json()["submission_id"] for answer in answers}
        replayed = sum(answer.headers.get(REPLAYED) == "true" for answer in answers)
        if expected is None:
            assert replayed == len(answers) - 1
            assert identifier not in {one.id for one in self.model.taken}
            self.model.add(identifier, request)
        else:
            assert (identifier, replayed) == (expected.id, len(answers))
            assert {answer.json()["state"] for answer in answers} == {expected.state}

    async def refuse(self, place: int) -> None:
        await self._decide(place, "refused")

    async def apply(self, place: int) -> None:
        await self._decide(place, "applied")

    async def _decide(self, place: int, state: str) -> None:
        if place >= len(self.model.taken):
            return
        taken = self.model.taken[place]
        if taken.state == "pending":
            taken.state = state
            gateway = self.replica()
            await (gateway.refuse if state == "refused" else gateway.apply)(taken.id)

    async def bulk(self, said: list[str]) -> None:
        lines = [Request("submit", "", 0, one).body(self.base) for one in said]
        answer = await send(self.replica(), ndjson(*lines), f"{self.base}-lot")
        told, _ = lines_of(answer)
        for one in told:
            number, known = one["line"], self.model.lines.get(one["line"])
            if known is None:
                assert one["outcome"] == "taken-in"
                self.model.lines[number] = (said[number - 1], one["submission_id"])
            elif known[0] == said[number - 1]:
                assert (one["outcome"], one["submission_id"]) == ("repeated", known[1])
            else:
                assert one["problem"]["type"].endswith(":idempotency-key-reused")

    async def counted(self) -> None:
        """As many submissions and events as were promised."""
        codes = [dossier_code(self.base + number) for number in (1, 2)]
        promised = {one.id for one in self.model.taken}
        promised |= {identifier for _, identifier in self.model.lines.values()}
        found = await self.replicas[0].rows(
            "SELECT id::text FROM submission WHERE id = ANY(CAST(:ids AS uuid[])) "
            "OR dossier_code = ANY(CAST(:codes AS text[]))",
            ids=list(promised),
            codes=codes,
        )
        assert {row.id for row in found} == promised
        events = [str(event.submission_id) for event in await self.replicas[0].submissions()]
        assert sorted(one for one in events if one in promised) == sorted(promised)


@pytest.fixture
async def replicas(databases: Databases, tmp_path: Path) -> AsyncIterator[list[RunningGateway]]:
    url = await gateway_database(databases)
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(running_gateway(url, tmp_path)) for _ in range(2)]


async def test_no_history_of_repetitions_doubles_or_loses_anything(
    replicas: list[RunningGateway],
) -> None:
    loop = asyncio.get_running_loop()
    numbers = iter(range(1, 10_000))

    @settings(
        max_examples=40,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(ACTIONS, min_size=4, max_size=14))
    def whatever_is_repeated(actions: list[tuple[str, Any]]) -> None:
        async def play() -> None:
            history = History(replicas, next(numbers))
            for name, argument in actions:
                await getattr(history, name)(argument)
            await history.counted()

        asyncio.run_coroutine_threadsafe(play(), loop).result(60)

    await asyncio.to_thread(whatever_is_repeated)
