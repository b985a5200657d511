"""What can be said about documents, certificates and signatures, in Vietnamese and English.

Free of personal data: a report goes into the evidence as it is. Light, since the service itself
imports it while the verifying library is loaded by the isolated processes alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from signature_connector.domain.sentences import SENTENCES

_LONGEST_DETAIL = 200


class Level(StrEnum):
    """What a finding means for the verdict."""

    PASSED = "passed"
    WARNING = "warning"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found.

    Attributes:
        detail: a name of the field (algorithm, kind of error); never content or a person's data.
    """

    code: str
    level: Level
    detail: str | None = None

    def body(self) -> dict[str, Any]:
        """For reports."""
        vietnamese, english = SENTENCES[self.code]
        body = {"code": self.code, "level": self.level, "vi": vietnamese, "en": english}
        return {**body, "detail": self.detail} if self.detail else body

    def sentence(self) -> str:
        """For events and pages: both languages and the detail."""
        vietnamese, english = SENTENCES[self.code]
        detail = f" ({self.detail})" if self.detail else ""
        return f"{vietnamese} / {english}{detail}"


def passed(code: str, detail: str | None = None) -> Finding:
    """Something is as it should be."""
    return Finding(code, Level.PASSED, _tellable(detail))


def warning(code: str, detail: str | None = None) -> Finding:
    """Something to be known that stops nothing."""
    return Finding(code, Level.WARNING, _tellable(detail))


def refused(code: str, detail: str | None = None) -> Finding:
    """The reason why not."""
    return Finding(code, Level.REFUSED, _tellable(detail))


def _tellable(detail: str | None) -> str | None:
    """Bounded, and of characters that JSON, XML and the database can hold: a name of the field can
    come from the document."""
    if detail is None:
        return None
    return "".join(one if one.isprintable() else "?" for one in detail[:_LONGEST_DETAIL])


@dataclass(frozen=True, slots=True)
class Report:
    """What an examination found.

    Attributes:
        findings: in the order in which they were made; a refusal is the last one.
        facts: numbers and names for the evidence and the next steps.
    """

    findings: tuple[Finding, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def refusal(self) -> Finding | None:
        """Why it is not accepted; None when it is."""
        return next((f for f in self.findings if f.level is Level.REFUSED), None)

    def body(self) -> dict[str, Any]:
        """The report as JSON values."""
        return {
            "accepted": self.refusal is None,
            "findings": [finding.body() for finding in self.findings],
            **self.facts,
        }


class Refusal(Exception):
    """Ends an examination with a finding."""

    def __init__(self, code: str, detail: str | None = None) -> None:
        super().__init__(code)
        self.finding = refused(code, detail)
