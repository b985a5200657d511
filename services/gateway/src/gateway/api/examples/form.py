"""What an operation is told of in the document beside what its route says of itself."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from common.errors import Problem

DOSSIER = "000.00.00.H49-261122-0001"
AGENCY = "H49"
PROCEDURE = "1.000387"
SUBMISSION = "01a2012a-359e-7003-a042-b38858d07680"
FILE = "5f3c1f7d3f7e0a9f4b1f0c5d2f9c77a1c2e59d2a47c25f0a8c0f6a4b5d1e9c30"
CURSOR = "WyIyYmRhZWMyZiIsMCwiMS4wMDAwMDUiXQ"


@dataclass(frozen=True)
class Told:
    """One operation.

    Attributes:
        vi: what it does, in Vietnamese; the route's docstring says it in English.
        request: bodies by name; a form is given by its fields, a file by the text of its content.
        answers: for each status of success, bodies by name.
        refusals: kinds of problems beside those that every route with their status can have.
        parameters: values of parameters by name, where this operation's differ from the usual.
    """

    vi: str
    request: Mapping[str, Any] = field(default_factory=dict)
    answers: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    refusals: tuple[type[Problem] | str, ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)
