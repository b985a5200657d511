"""REST: ask for signatures, see what became of them, see what waits for an operator."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from uuid import UUID, uuid5

import orjson
from fastapi import APIRouter, Header, Query, Response
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, Strict, StrictInt, model_validator

from common.auth import Principal
from common.blobs import Blobs
from common.contracts.codes import AgencyCode, ProcedureCode
from common.errors import Forbidden
from common.service import CoreOf
from common.telemetry import current_traceparent
from signature_connector.api.document import KEY, KEY_HEADER, problems
from signature_connector.api.parts import (
    BlobsOf,
    ChoiceOf,
    Operator,
    Reader,
    Wake,
    Writer,
    found,
)
from signature_connector.domain import requests
from signature_connector.domain.evidence import exported, first_break
from signature_connector.domain.profiles import PROFILES, Mark, Options
from signature_connector.domain.requests import State
from signature_connector.errors import KeyMissing, UnknownFile
from signature_connector.store import requests as store
from signature_connector.use_cases.requests import placed, take_in

router = APIRouter(
    prefix="/v1/signing-requests", tags=["signing"], responses=problems(401, 403, 422, 503)
)

NAMESPACE = UUID("5f0c7c1e-3f0b-5d52-9a53-0e6a5d8f7b21")
"""Request ids are made from the client and its own key: no client can take another's id."""


Key = Annotated[str | None, Header(pattern=KEY, include_in_schema=False)]


class Signer(BaseModel):
    """Who is to sign."""

    model_config = ConfigDict(extra="forbid")

    user: str = Field(
        pattern=r"^[0-9A-Za-z-]{1,20}$",
        description="Citizen id, old citizen id, passport or tax code",
    )
    ca_name: str = Field(min_length=1, max_length=50, description="The signer's CA")


class Document(BaseModel):
    """What is to be signed: a PDF that is in the file store already."""

    model_config = ConfigDict(extra="forbid")

    id: str = Field(min_length=1, max_length=200)
    name: str = Field(min_length=1, max_length=500)
    file: str = Field(pattern=r"^[0-9a-f]{64}$", description="SHA-256 of the content")


Coordinate = Annotated[FiniteFloat, Strict()]


class Place(BaseModel):
    """Where a visible stamp is put: beside a text, or into a box of a page."""

    model_config = ConfigDict(extra="forbid")

    anchor: str | None = Field(default=None, min_length=1, max_length=200)
    page: StrictInt = Field(
        default=-1, ge=-1000, le=1000, description="From 0; negative from the end"
    )
    box: tuple[Coordinate, Coordinate, Coordinate, Coordinate] | None = Field(
        default=None, description="Left, bottom, right, top in points from the lower left corner"
    )

    @model_validator(mode="after")
    def _one(self) -> "Place":
        if (self.anchor is None) == (self.box is None):
            raise ValueError("either an anchor or a box")
        return self


class How(BaseModel):
    """How a document is to be signed."""

    model_config = ConfigDict(extra="forbid")

    profile: Literal[PROFILES] = requests.PROFILE  # type: ignore[valid-type]
    """Format and level. Where the person's provider signs whole files, its own way counts, and the
    level is B-B."""
    reason: str | None = Field(default=None, min_length=1, max_length=200)
    stamp: Place | None = None
    augment: Literal["required", "wanted"] = "wanted"
    """Whether the document is handed out only at its level, or at B-B where no time-stamping
    authority answers."""

    def options(self, *, final: bool = False) -> str:
        """What is kept of it."""
        mark = Mark(self.stamp.anchor, self.stamp.page, self.stamp.box) if self.stamp else None
        return Options(reason=self.reason, stamp=mark, final=final, augment=self.augment).written()


class NewRequest(How):
    """A wish to have a document signed."""

    model_config = ConfigDict(extra="forbid")

    agency: AgencyCode
    procedure: ProcedureCode | None = None
    """Of the dossier it is for; only a client that deals with all procedures may leave it out."""
    document: Document
    signer: Signer


class SigningRequest(BaseModel):
    """A signing request as it stands."""

    request_id: UUID
    dossier_code: str | None
    agency: str
    procedure: str | None
    document_id: str
    document_name: str
    file: str
    ca_name: str
    profile: str
    level: str | None = Field(description="What the signed document has reached; null: not known")
    provider: str | None = Field(description="Who was asked to have it signed")
    deadline: datetime | None = Field(description="When waiting for the person ends")
    workflow: UUID | None = Field(description="What several signers of a document have in common")
    batch: UUID | None = Field(description="What is put to a person with one confirmation")
    place: int = Field(description="Within it, from 0")
    state: State
    outcome: str | None = Field(description="Why it ended or rests, in both languages")
    serial_number: str | None = Field(description="Of the certificate, hexadecimal")
    signed_file: str | None = Field(description="SHA-256, once the result was verified")
    signed_at: datetime | None
    created_at: datetime
    submissions: int = Field(description="How often the person was or may have been asked")


class HeldRequests(BaseModel):
    """A page of requests that wait for an operator."""

    items: list[SigningRequest]
    next: UUID | None


class EvidenceRecord(BaseModel):
    """One record of the chain."""

    number: int
    record: dict[str, Any]
    digest: str


class Evidence(BaseModel):
    """The evidence of a request; ``broken_at`` names the first record that does not fit."""

    records: list[EvidenceRecord]
    broken_at: int | None


def view(request: requests.Request) -> SigningRequest:
    """A request as it is shown."""
    signed = request.signed_file if request.state is State.COMPLETED else None
    values = {name: getattr(request, name, None) for name in SigningRequest.model_fields}
    return SigningRequest(**{**values, "signed_file": signed})


def key_given(key: str | None) -> str:
    """The key without which a request could not be told from a repeated one.

    Raises:
        KeyMissing: there is none.
    """
    if key is None:
        raise KeyMissing(
            "Cần tiêu đề Idempotency-Key để không ai bị yêu cầu ký hai lần",
            "An Idempotency-Key header is needed, so that nobody is asked twice",
        )
    return key


def check_rights(principal: Principal, agency: str, procedure: str | None) -> None:
    """Whether the caller may have something signed for an agency and a procedure.

    Raises:
        Forbidden: not for one of them.
    """
    if not principal.may_act_for(agency):
        raise Forbidden(
            "Token không có quyền với cơ quan này",
            "The token does not carry rights for this agency",
        )
    if not principal.may_handle(procedure):
        raise Forbidden(
            "Token không có quyền với thủ tục này",
            "The token does not deal with this procedure",
        )


async def check_files(blobs: Blobs, files: Mapping[str, str]) -> None:
    """Whether all documents are in the file store.

    Args:
        files: digests by the pointer of the field.

    Raises:
        UnknownFile: some are not.
    """
    missing = [pointer for pointer, file in files.items() if not await blobs.has(file)]
    if missing:
        raise UnknownFile(
            "Tệp cần ký không có trong kho",
            "The document to be signed is not in the file store",
            errors=[
                {
                    "pointer": pointer,
                    "detail": "không có tệp với mã băm này",
                    "detail_en": "no file of this digest",
                }
                for pointer in missing
            ],
        )


@router.post("", status_code=202, responses=problems(400, 409, 413), openapi_extra=KEY_HEADER)
async def request_signature(
    wanted: NewRequest,
    principal: Writer,
    core: CoreOf,
    blobs: BlobsOf,
    wake: Wake,
    choice: ChoiceOf,
    response: Response,
    idempotency_key: Key = None,
) -> SigningRequest:
    """Ask for a signature. The same key with the same content is the same request."""
    key = key_given(idempotency_key)
    check_rights(principal, wanted.agency, wanted.procedure)
    await check_files(blobs, {"/document/file": wanted.document.file})
    request_id = uuid5(NAMESPACE, f"{principal.client_id}\n{key}")
    wish = requests.Request(
        request_id=request_id,
        client=principal.client_id,
        dossier_code=None,
        agency=wanted.agency,
        procedure=wanted.procedure,
        document_id=wanted.document.id,
        document_name=wanted.document.name,
        file=wanted.document.file,
        ca_name=wanted.signer.ca_name,
        sealed_user=core.keys.seal(wanted.signer.user, str(request_id)),
        profile=wanted.profile,
        options=wanted.options(),
        created_at=datetime.now(UTC),
        traceparent=current_traceparent(),
    )
    async with core.outbox.transaction() as unit:
        (request,) = await take_in(unit, core.keys, [placed(choice, wish)])
    wake()
    response.headers["Location"] = f"/v1/signing-requests/{request_id}"
    return view(request)


@router.get("")
async def held_requests(
    principal: Operator,
    core: CoreOf,
    state: Literal["manual-review"] = "manual-review",
    after: UUID | None = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> HeldRequests:
    """Requests that wait for an operator, oldest first."""
    async with core.database.reading() as connection:
        held = await store.held(
            connection, principal.agencies, principal.procedures, after, limit + 1
        )
    page = held[:limit]
    more = page[-1].request_id if len(held) > limit else None
    return HeldRequests(items=[view(request) for request in page], next=more)


@router.get("/{request_id}", responses=problems(404))
async def signing_request(request_id: UUID, principal: Reader, core: CoreOf) -> SigningRequest:
    """One request."""
    return view(await found(core, principal, request_id))


@router.get("/{request_id}/evidence", responses=problems(404))
async def evidence(request_id: UUID, principal: Operator, core: CoreOf) -> Evidence:
    """The chain of evidence of a request, checked."""
    request = await found(core, principal, request_id)
    async with core.database.reading() as connection:
        records = await store.evidence_of(connection, request_id)
    return Evidence(
        records=[
            EvidenceRecord(
                number=one.number, record=orjson.loads(one.body), digest=one.digest.hex()
            )
            for one in records
        ],
        broken_at=first_break(records, request.evidence_count, request.evidence_head),
    )


@router.get("/{request_id}/evidence/export", responses=problems(404))
async def export_evidence(request_id: UUID, principal: Operator, core: CoreOf) -> dict[str, Any]:
    """The evidence as it was hashed, to be checked elsewhere; files are named by their SHA-256."""
    request = await found(core, principal, request_id)
    async with core.database.reading() as connection:
        records = await store.evidence_of(connection, request_id)
    return exported(request, records)
