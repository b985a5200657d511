"""What an answer of the portal means.

Codes are inconsistent between installations: "0" and "00" are success, but success is also told
by "thành công" in the message alone, and "đã tồn tại" came with "3" as well as with "-3". So the
sentence counts for more than the code, and what contradicts itself is called unclear, not guessed.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

_SUCCESS_CODES = frozenset({"0", "00"})
_AMBIGUOUS_CODES = frozenset({"", "3", "-3"})
_SUCCESS = "thành công"
_FAILURE = ("không thành công", "chưa thành công", "thất bại")
_EXISTS = ("đã tồn tại",)
_DOSSIER = "hồ sơ"
_MISSING = ("không tồn tại", "chưa tồn tại")
_SESSION = ("phiên làm việc", "phiên đăng nhập", "session")

_DOSSIER_CODE = re.compile(r"[0-9A-Z]+(?:\.[0-9A-Z]+)*-(?:\d{8}|\d{6})-\d{4,7}(?!\d)")
_PERSONAL_LIKE = re.compile(r"\d{9,}|[^\s@]+@[^\s@]+")
_LONGEST_REASON = 300


class Verdict(StrEnum):
    """What the portal says it did."""

    DONE = "done"
    EXISTS = "exists"
    """It has this dossier already: to be sent as an update."""
    MISSING = "missing"
    """It does not have this dossier."""
    SESSION_LOST = "session-lost"
    REFUSED = "refused"
    UNCLEAR = "unclear"


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer, or one item's part of it.

    Attributes:
        code: ``error_code`` as it came.
        message: the sentence as it came; it may quote what was sent, so it is not for logs.
        result: entries of ``result``; None where the answer has no list of that name.
    """

    verdict: Verdict
    code: str
    message: str
    result: tuple[Any, ...] | None = None

    def names(self) -> frozenset[str]:
        """The dossier codes that the message mentions."""
        return frozenset(_DOSSIER_CODE.findall(self.message))

    def reason(self, personal: Iterable[str] = ()) -> str:
        """The answer for operators, without the personal values that were sent and the like."""
        text = self.message
        for value in sorted(set(personal), key=len, reverse=True):
            if len(value) > 1:
                text = re.sub(re.escape(value), "…", text, flags=re.IGNORECASE)
        text = _PERSONAL_LIKE.sub("…", text)
        return f"{self.code or '-'}: {text}"[:_LONGEST_REASON]


def read(answer: Mapping[str, Any]) -> Answer:
    """Understand an answer, or an entry of its ``result``, as far as it can be understood."""
    code = _text(answer.get("error_code"))
    message = _text(answer.get("message"))
    listed = answer.get("result")
    return Answer(
        _verdict(code, unicodedata.normalize("NFC", message).casefold()),
        code,
        message,
        tuple(listed) if isinstance(listed, list) else None,
    )


def per_item(answer: Answer, codes: Sequence[str]) -> list[Answer | None] | None:
    """What ``result`` says of each item that was sent, in their order.

    None where it says nothing of the kind; None for an item of which it says nothing, or two
    different things.
    """
    entries = [
        entry
        for entry in answer.result or ()
        if isinstance(entry, dict) and ("error_code" in entry or "message" in entry)
    ]
    if not entries:
        return None
    told = [(_text(entry.get("MaHoSo")), read(entry)) for entry in entries]
    if [code for code, _ in told] == list(codes):
        return [one for _, one in told]
    of_code: dict[str, dict[Verdict, Answer]] = {}
    for code, one in told:
        of_code.setdefault(code, {})[one.verdict] = one
    own = [list(of_code.get(code, {}).values()) for code in codes]
    return [answers[0] if len(answers) == 1 else None for answers in own]


def holds(answer: Answer, code: str) -> bool | None:
    """Whether an answer to ``TraCuuHoSo`` shows the dossier; None where it does not say."""
    if answer.verdict is Verdict.MISSING:
        return False
    if answer.verdict is Verdict.EXISTS:
        return True
    if answer.verdict is not Verdict.DONE or answer.result is None:
        return None
    if not answer.result:
        return False
    shown = [entry.get("MaHoSo", code) for entry in answer.result if isinstance(entry, dict)]
    return True if code in shown else None


def _verdict(code: str, message: str) -> Verdict:
    failed = any(words in message for words in _FAILURE)
    succeeded = _SUCCESS in message and not failed
    if code in _SUCCESS_CODES:
        if failed:
            return Verdict.UNCLEAR
        exists = any(words in message for words in _EXISTS)
        return Verdict.EXISTS if exists and not succeeded else Verdict.DONE
    if any(words in message for words in _SESSION):
        return Verdict.SESSION_LOST
    if any(words in message for words in _EXISTS):
        return Verdict.EXISTS
    # A procedure or a field may be said not to exist just as well.
    if _DOSSIER in message and any(words in message for words in _MISSING):
        return Verdict.MISSING
    if succeeded:
        return Verdict.DONE
    # "3" and "-3" came with "đã tồn tại" as well as with other sentences: alone they say nothing.
    told = message or code not in _AMBIGUOUS_CODES
    return Verdict.REFUSED if told else Verdict.UNCLEAR


def _text(value: Any) -> str:
    return str(value).strip() if isinstance(value, str | int) else ""
