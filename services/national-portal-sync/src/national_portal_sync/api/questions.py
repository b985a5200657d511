"""Questions from the national portal: read masked, answered once."""

import re
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query, Request
from pydantic import BaseModel, ConfigDict, StringConstraints
from sqlalchemy import Row

from common.auth import Principal, requires
from common.sealing import SealError
from common.service import CoreOf
from national_portal_sync.store import questions as store
from national_portal_sync.use_cases.questions import Questions

router = APIRouter(prefix="/v1/questions", tags=["questions"])

_NUMBER_OR_ADDRESS = re.compile(r"\d(?:[\s.-]?\d){5,}|[^\s@]+@[^\s@]+")
_SOME = r"^[^\x00]*\S[^\x00]*$"
State = Literal["open", "answered", "told"]


def _questions(request: Request) -> Questions:
    questions: Questions = request.app.state.questions
    return questions


QuestionsOf = Annotated[Questions, Depends(_questions)]
Reader = Annotated[Principal, requires("questions:read")]
Writer = Annotated[Principal, requires("questions:write")]


class Question(BaseModel):
    """A question; who asked is masked, and so are numbers and addresses in its text."""

    id: str
    agency: str
    dossier_code: str | None
    procedure_code: str | None
    asked_at: datetime | None
    name: str | None
    title: str | None
    content: str | None
    state: State
    """``open``, ``answered`` (on its way to the portal) or ``told`` (the portal has the answer)."""
    answered_at: datetime | None
    told_at: datetime | None


class QuestionPage(BaseModel):
    """A page; ``next`` continues it as ``after``, and is null at the end."""

    items: list[Question]
    next: str | None


class Answer(BaseModel):
    """What the agency answers."""

    model_config = ConfigDict(extra="forbid")

    content: Annotated[str, StringConstraints(min_length=1, max_length=10_000, pattern=_SOME)]
    official: Annotated[str, StringConstraints(max_length=300, pattern=_SOME)] | None = None
    """Who answers, as it is to stand on the portal."""


@router.get("")
async def list_questions(
    core: CoreOf,
    questions: QuestionsOf,
    reader: Reader,
    state: State | None = None,
    after: Annotated[str, Query(max_length=100)] = "",
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> QuestionPage:
    """Questions to the caller's agencies about the caller's procedures."""
    async with core.database.reading() as connection:
        rows = await store.page(
            connection, reader.agencies, reader.procedures, state, after, limit + 1
        )
    page = rows[:limit]
    return QuestionPage(
        items=[_question(row, questions) for row in page],
        next=page[-1].id if len(rows) > limit else None,
    )


@router.post("/{id:path}/answer", status_code=202)
async def answer_question(
    questions: QuestionsOf,
    writer: Writer,
    body: Answer,
    id_: Annotated[str, Path(alias="id", max_length=100)],
) -> Question:
    """Send the answer to the portal. The same answer again is no second one."""

    def may(agency: str, procedure: str | None) -> bool:
        return writer.may_act_for(agency) and writer.may_handle(procedure)

    row = await questions.answer(id_, may, body.content, body.official, writer.client_id)
    return _question(row, questions)


def _question(row: Row[Any], questions: Questions) -> Question:
    try:
        told = questions.shown(row)
    except SealError:  # its key is gone: that it was asked is still known
        told = {}
    return Question(
        name=_initials(told.get("name")),
        title=_masked(told.get("title")),
        content=_masked(told.get("content")),
        **{
            name: getattr(row, name)
            for name in ("id", "agency", "dossier_code", "procedure_code", "asked_at", "state")
        },
        answered_at=row.answered_at,
        told_at=row.told_at,
    )


def _initials(name: str | None) -> str | None:
    return " ".join(f"{word[0]}***" for word in name.split()) if name else None


def _masked(text: str | None) -> str | None:
    return _NUMBER_OR_ADDRESS.sub("***", text) if text else None
