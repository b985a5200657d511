"""A bulk request as it is taken in: read by the batch, judged line by line, answered as it goes.

The same checks and the same intake as for single requests, in a lane of its own. What was answered
to a line is sent on when the client reads it; a client that sends everything before it reads
anything is not kept waiting, so answers that are not read yet are held in memory: some hundred
bytes for each line.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, TypeAlias

import orjson
import structlog
from starlette.requests import ClientDisconnect

from common.auth import Principal
from common.database import database_is_away
from common.errors import Problem, TooManyRequests, describe
from common.identifiers import new_id
from common.problems import BodyRefused, request_id
from gateway.api.bulk_lines import Line, StepLine, batches
from gateway.api.parts import Gateway
from gateway.api.submissions import members
from gateway.api.wishes import Asker, NewDossier, new_dossier, step_wish
from gateway.domain.codes import day_of_issue
from gateway.domain.refusals import Refusal
from gateway.domain.submissions import Submission
from gateway.errors import DossierCodeTaken
from gateway.store import submissions
from gateway.store.bulk import BulkState
from gateway.use_cases.bulk import Held
from gateway.use_cases.intake import Wish
from gateway.use_cases.message_log import Exchange
from gateway.use_cases.patience import not_now

FORM = "POST /v1/dossiers/bulk"
_TURN = 8
"""Lines that are read before others get their turn."""
_BESIDE_LIVE = 25
"""Lines that are dealt with together while there are single requests, which wait for them."""
_SHARE = 3.0
"""How many times as long as a batch took is left to what is live, while there is any."""
_LONGEST_PAUSE_SECONDS = 1.0

log = structlog.get_logger()

Judged: TypeAlias = Submission | Problem


@dataclass(slots=True)
class Asked:
    """A line on its way: what it asks for, and what became of it."""

    line: Line
    dossier: NewDossier | None = None
    wish: Wish | None = None
    answer: Judged | None = None

    @property
    def counts(self) -> bool:
        """Whether it is a submission more, or may be one."""
        return self.answer is None or (
            isinstance(self.answer, Submission) and not self.answer.repeated
        )

    def told(self) -> bytes:
        """What the client hears of it."""
        if isinstance(self.answer, Submission):
            return _taken(self.line.number, self.answer)
        problem = self.answer.body() if self.answer else {}
        return _line({"line": self.line.number, "outcome": "refused", "problem": problem})


class Taking:
    """Takes one bulk request in.

    Args:
        held: the request, which is this one's to take in.
        first: number of the first line that comes.
        address: from where, for the audit of refusals.
    """

    def __init__(
        self,
        gateway: Gateway,
        principal: Principal,
        held: Held,
        first: int,
        address: str | None = None,
    ) -> None:
        self._gateway = gateway
        self._principal = principal
        self._held = held
        self._first = first
        self._address = address
        self._last = first - 1
        self._counts = {"taken_in": 0, "repeated": 0, "refused": 0}
        self._unsent: list[bytes] = []
        self._more = asyncio.Event()
        self._over = False
        self._beside_live = False

    async def outcomes(self) -> AsyncIterator[bytes]:
        """What became of the lines, in their order, until ``run`` has ended."""
        while True:
            await self._more.wait()
            self._more.clear()
            over = self._over
            if self._unsent:
                unsent, self._unsent = self._unsent, []
                yield b"".join(unsent)
            if over:
                return

    async def run(self, parts: AsyncIterator[bytes]) -> None:
        """Take in what comes, and say at the end how it ended."""
        state: BulkState = "broken-off"
        problem: Problem | None = None
        try:
            await self._all(parts)
            state = "ended"
        except ClientDisconnect:
            log.info("bulk request broken off", bulk=str(self._held.known.id), lines=self._last)
        except BodyRefused as error:
            problem = error.problem
        except Problem as error:
            problem = error
        except Exception as error:
            problem = not_now() if database_is_away(error) else Problem()
            log.error("bulk request failed", error=describe(error))
        try:
            await self._gateway.bulks.end(self._held, state)
        except Exception as error:  # it frees itself
            log.warning("end of a bulk request not noted", error=describe(error))
        self._tell([_line(self._summary(state, problem))], over=True)

    def _summary(self, state: BulkState, problem: Problem | None) -> dict[str, Any]:
        told = {
            "bulk_id": str(self._held.known.id),
            "state": state,
            "lines": self._last,
            **self._counts,
        }
        return {**told, "problem": problem.body()} if problem else told

    async def _all(self, parts: AsyncIterator[bytes]) -> None:
        """Batch by batch: while one is being written the next one is read."""
        writing: asyncio.Task[None] | None = None
        try:
            async with aclosing(batches(parts, self._first)) as coming:
                async for batch in coming:
                    while batch:
                        size = _BESIDE_LIVE if self._beside_live else len(batch)
                        began = time.perf_counter()
                        asked = [Asked(line) for line in batch[:size]]
                        for place, one in enumerate(asked, 1):
                            await self._read(one)
                            if place % _TURN == 0:
                                await asyncio.sleep(0)
                        spent = time.perf_counter() - began
                        if writing is not None:
                            await writing
                        writing = asyncio.create_task(self._deal(asked, spent))
                        batch = batch[size:]  # noqa: PLW2901 - what is left of it
        finally:
            if writing is not None:
                await writing

    async def _deal(self, asked: Sequence[Asked], spent: float) -> None:
        """Take a batch in and tell what became of it.

        Args:
            spent: seconds that went into it so far.

        Raises:
            Problem: no fault of a line's; lines that were not told of may have been taken in, and
                are found to be when they come again.
        """
        began, live = time.perf_counter(), self._gateway.intake.live_wishes
        await self._issue([one for one in asked if one.dossier and one.dossier.code is None])
        stopped = await self._take([one for one in asked if one.wish is not None])
        open_ = next((n for n, one in enumerate(asked) if one.answer is None), len(asked))
        await self._note(asked[:open_])
        if stopped is not None:
            raise stopped
        self._beside_live = self._gateway.intake.live_wishes != live
        if self._beside_live:
            pause = _SHARE * (spent + time.perf_counter() - began)
            await asyncio.sleep(min(pause, _LONGEST_PAUSE_SECONDS))

    async def _read(self, one: Asked) -> None:
        """What a line asks for, as far as its own content says."""
        line = one.line
        exchange = Exchange(
            FORM, line.content or b"", 202, lambda submission: _taken(line.number, submission)
        )
        asker = Asker(self._principal, self._held.key(line.number), "bulk", exchange=exchange)
        try:
            body = line.read()
            if isinstance(body, StepLine):
                asker = replace(asker, expected=body.if_match)
                one.wish = await step_wish(self._gateway, asker, body.code, body.step)
            else:
                one.dossier = await new_dossier(self._gateway, asker, body)
                if one.dossier.code is not None:
                    one.wish = one.dossier.wish(one.dossier.code)
        except Problem as problem:
            one.answer = _fault_of_a_line(problem)

    async def _issue(self, without: Sequence[Asked]) -> None:
        """Give codes to dossiers that have none, unless the line was taken in before."""
        if not without:
            return
        keys = [self._held.key(one.line.number) for one in without]
        async with self._gateway.database.reading() as connection:
            known = await submissions.by_keys(connection, self._principal.client_id, keys)
        wanted: defaultdict[str, list[tuple[Asked, NewDossier]]] = defaultdict(list)
        for key, one in zip(keys, without, strict=True):
            if (dossier := one.dossier) is None:
                continue
            if key not in known:
                wanted[dossier.agency].append((one, dossier))
                continue
            try:
                found = known[key]
                one.answer = self._gateway.intake.repeated(found, dossier.agency, dossier.content)
            except Problem as problem:
                one.answer = _fault_of_a_line(problem)
        day = day_of_issue(datetime.now(UTC))
        for agency, those in wanted.items():
            codes = await self._gateway.codes.next(agency, day, len(those))
            for code, (one, dossier) in zip(codes, those, strict=True):
                one.wish = dossier.wish(code)

    async def _take(self, asked: Sequence[Asked]) -> Problem | None:
        """Have the wishes committed, in the order of their lines; what stopped it, if anything."""
        if not asked:
            return None
        limits, client_id = self._gateway.limits, self._principal.client_id
        await limits.submissions(client_id, len(asked))
        wishes = [one.wish for one in asked if one.wish is not None]
        answers = await asyncio.gather(
            *(self._gateway.intake.take(wish) for wish in wishes), return_exceptions=True
        )
        stopped: Problem | None = None
        for one, answer in zip(asked, answers, strict=True):
            try:
                one.answer = await self._judged(one, answer)
            except Problem as problem:
                stopped = stopped or problem
        limits.give_back(client_id, sum(not one.counts for one in asked))
        return stopped

    async def _judged(self, one: Asked, answer: Submission | BaseException) -> Judged:
        """What became of a line.

        Raises:
            Problem: that is not known yet, for no fault of the line's.
        """
        try:
            if isinstance(answer, DossierCodeTaken) and one.wish and one.wish.issued:
                return await self._under_another_code(one)
            if isinstance(answer, BaseException):
                raise answer
        except Problem as problem:
            return _fault_of_a_line(problem)
        return answer

    async def _under_another_code(self, one: Asked) -> Submission:
        """A source system used the code after it was issued."""
        dossier = one.dossier
        if dossier is None:
            raise ValueError("only a new dossier has an issued code")
        return await self._gateway.new_dossiers.take(
            client_id=self._principal.client_id,
            key=self._held.key(one.line.number),
            agency=dossier.agency,
            content=dossier.content,
            wish=dossier.wish,
        )

    async def _note(self, dealt: Sequence[Asked]) -> None:
        """Keep how far it is, and let the client know."""
        if not dealt:
            return
        refused: dict[int, dict[str, Any]] = {}
        accepted: list[int] = []
        for one in dealt:
            if isinstance(one.answer, Submission):
                accepted.append(one.line.number)
                self._counts["repeated" if one.answer.repeated else "taken_in"] += 1
            elif one.answer is not None:
                refused[one.line.number] = one.answer.body()
                self._counts["refused"] += 1
                self._gateway.refusals.add(self._refusal(one.answer))
        last = dealt[-1].line.number
        await self._gateway.bulks.go_on(self._held, lines=last, refused=refused, accepted=accepted)
        self._last = last
        self._tell([one.told() for one in dealt])

    def _refusal(self, problem: Problem) -> Refusal:
        """For the audit, in which a refused line is what a refused request is."""
        return Refusal(
            id=new_id(),
            at=datetime.now(UTC),
            client_id=self._principal.client_id,
            claimed=None,
            address=self._address,
            method="POST",
            route="/v1/dossiers/bulk",
            status=problem.status,
            type=problem.slug,
            request_id=request_id.get(),
        )

    def _tell(self, lines: Sequence[bytes], *, over: bool = False) -> None:
        self._unsent += lines
        self._over = over
        self._more.set()


def _fault_of_a_line(problem: Problem) -> Problem:
    """A refusal that the line itself is the reason of; what is not goes on its way.

    Raises:
        Problem: nothing is to be had now, whatever the line says.
    """
    if problem.status >= 500 or problem.status == TooManyRequests.status:
        raise problem
    return problem


def _taken(number: int, submission: Submission) -> bytes:
    outcome = "repeated" if submission.repeated else "taken-in"
    return _line({"line": number, "outcome": outcome, **members(submission)})


def _line(said: dict[str, Any]) -> bytes:
    return orjson.dumps(said, option=orjson.OPT_APPEND_NEWLINE)
