"""Submissions: what they are, when two are the same, and which agency they belong to."""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import SecretStr

from common.contracts.codes import agency_of_dossier, within
from common.errors import Problem
from gateway.errors import CodeAgencyMismatch, DossierCodeTaken, IdempotencyKeyReused

State = Literal["pending", "applied", "refused"]


@dataclass(frozen=True, slots=True)
class Submission:
    """A command that was taken in, and what became of it.

    Attributes:
        kind: the command's.
        fingerprint: see ``Fingerprints``.
        step_number: the step it became in the dossier's history, once applied.
        flagged: why the step is unusual though it was applied.
        problem: the RFC 9457 document, once refused.
        procedure: the dossier's, as far as it was known when this was taken in.
        repeated: this is the answer to a request that had been taken in before; it is not stored.
    """

    id: UUID
    client_id: str
    agency: str
    dossier_code: str
    kind: str
    fingerprint: str
    state: State
    received_at: datetime
    decided_at: datetime | None = None
    step_number: int | None = None
    flagged: str | None = None
    problem: dict[str, Any] | None = None
    procedure: str | None = None
    repeated: bool = False


class Fingerprints:
    """Tells whether a request repeats an earlier one, without keeping what it said.

    A plain hash of a name and an identity number could be guessed, so it is keyed. It is stored
    with the id of its key, like a sealed text: where the current key has changed since, the
    request is compared under the key of the stored one.

    Args:
        keys: the sealing keys, by id; the fingerprint's own are derived from them.
        current: id of the key for new fingerprints.
    """

    def __init__(self, keys: Mapping[str, SecretStr], current: str) -> None:
        self._keys = {
            key_id: hmac.digest(secret.get_secret_value().encode(), b"fingerprint", hashlib.sha256)
            for key_id, secret in keys.items()
        }
        self._current = current

    def of(self, content: bytes) -> str:
        """The fingerprint of a request's canonical content, under the current key."""
        return self._under(self._current, content)

    def matches(self, stored: str, content: bytes) -> bool:
        """Whether a stored fingerprint is one of this content."""
        key_id = stored.partition(".")[0]
        return key_id in self._keys and hmac.compare_digest(stored, self._under(key_id, content))

    def _under(self, key_id: str, content: bytes) -> str:
        return f"{key_id}.{hmac.digest(self._keys[key_id], content, hashlib.sha256).hex()}"


def dossier_agency(code: str, given: str | None = None) -> str:
    """The agency of a new dossier (new form): the one of its code, unless another one is given.

    Raises:
        CodeAgencyMismatch: the code's agency part has neither form, or the given agency is not on
            one line with it.
    """
    try:
        coded = agency_of_dossier(code)
    except ValueError as error:
        raise CodeAgencyMismatch(
            "Phần mã cơ quan trong mã hồ sơ không đúng định dạng",
            "The agency part of the dossier code is in no known form",
            errors=[_fault("/code", "mã cơ quan không hợp lệ", "not an agency code")],
        ) from error
    if given is None:
        return coded
    if not (within(given, coded) or within(coded, given)):
        raise CodeAgencyMismatch(
            "Cơ quan không trùng, không thuộc và không quản lý cơ quan trong mã hồ sơ",
            "The agency is neither the one in the dossier code nor above or below it",
            errors=[_fault("/agency", "không khớp với mã hồ sơ", "does not fit the dossier code")],
        )
    return given


@dataclass(frozen=True, slots=True)
class Earlier:
    """A submission that stands in the way of a new one, and by what."""

    by: Literal["key", "code", "content"]
    submission: Submission


def same_or_problem(earlier: Earlier, *, client_id: str, same_content: bool) -> Problem | None:
    """Whether a request repeats the earlier one (None), or why it cannot stand beside it.

    * A key belongs to one content for good, also after a refusal.
    * A dossier code belongs to the content and the client it came with, until that submission is
      refused: then the code is free again, for corrected content or another attempt.
    * Without a key, repeating refused content is a repetition, not another attempt.
    """
    if earlier.by == "key" and not same_content:
        return IdempotencyKeyReused(
            "Khóa này đã được dùng cho một yêu cầu có nội dung khác",
            "This key was used for a request with other content",
        )
    if earlier.by == "code" and not (same_content and earlier.submission.client_id == client_id):
        return DossierCodeTaken(
            "Mã hồ sơ này đã được nộp với nội dung khác hoặc từ hệ thống khác",
            "This dossier code was submitted with other content or by another system",
        )
    return None


def _fault(pointer: str, detail: str, detail_en: str) -> dict[str, str]:
    return {"pointer": pointer, "detail": detail, "detail_en": detail_en}
