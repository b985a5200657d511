"""What national-portal-sync tells of what comes back from the national portal."""

from datetime import datetime
from typing import ClassVar

from common.contracts.base import Event


class QuestionAsked(Event):
    """Somebody asked an agency a question on the national portal.

    ``sealed`` holds who asked and what, bound to ``question_id``: questions tell of people.
    """

    TYPE: ClassVar[str] = "portal.question-asked.v1"
    PRODUCER: ClassVar[str] = "national-portal-sync"
    ORDERED: ClassVar[bool] = False

    question_id: str
    agency: str
    dossier_code: str | None = None
    procedure_code: str | None = None
    asked_at: datetime | None = None
    sealed: str


class QuestionAnswered(Event):
    """The agency's answer is known to the national portal."""

    TYPE: ClassVar[str] = "portal.question-answered.v1"
    PRODUCER: ClassVar[str] = "national-portal-sync"
    ORDERED: ClassVar[bool] = False

    question_id: str
    agency: str
    at: datetime
