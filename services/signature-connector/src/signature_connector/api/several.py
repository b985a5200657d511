"""Several signers of one document, and several documents of one signer."""

from datetime import UTC, datetime
from uuid import UUID, uuid5

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, StrictBool, model_validator

from common.auth import Principal
from common.blobs import Blobs
from common.contracts.codes import AgencyCode, ProcedureCode
from common.service import CoreOf
from common.telemetry import current_traceparent
from signature_connector.api.document import KEY_HEADER, problems
from signature_connector.api.parts import BlobsOf, ChoiceOf, Wake, Writer
from signature_connector.api.requests import (
    NAMESPACE,
    Document,
    How,
    Key,
    Place,
    Signer,
    SigningRequest,
    check_files,
    check_rights,
    key_given,
    view,
)
from signature_connector.domain.profiles import Mark, Options
from signature_connector.domain.requests import Request
from signature_connector.use_cases.requests import placed, take_in
from signature_connector.use_cases.workflows import LONGEST, check_order, in_turn
from signature_connector.use_cases.workflows import Turn as InTurn

router = APIRouter(
    prefix="/v1", tags=["signing"], responses=problems(400, 401, 403, 409, 413, 422, 503)
)


class Turn(Signer):
    """A signer in his turn."""

    stamp: Place | None = None
    reason: str | None = Field(default=None, min_length=1, max_length=200)
    seal: StrictBool = False
    """An agency's seal: the last signature, after which none may follow."""


class NewWorkflow(How):
    """A document that several persons sign, one after the other, each what the one before left."""

    model_config = ConfigDict(extra="forbid")

    agency: AgencyCode
    procedure: ProcedureCode | None = None
    document: Document
    signers: list[Turn] = Field(min_length=1, max_length=LONGEST)

    @model_validator(mode="after")
    def _seal_last(self) -> "NewWorkflow":
        check_order(self.profile, [one.seal for one in self.signers])
        return self


class NewBatch(How):
    """Documents that one person signs, with one confirmation where the provider has that."""

    model_config = ConfigDict(extra="forbid")

    agency: AgencyCode
    procedure: ProcedureCode | None = None
    signer: Signer
    documents: list[Document] = Field(min_length=1, max_length=100)


class SigningRequests(BaseModel):
    """Requests that belong together, in their order."""

    id: UUID
    items: list[SigningRequest]


@router.post("/signing-workflows", status_code=202, openapi_extra=KEY_HEADER)
async def request_signatures(
    wanted: NewWorkflow,
    principal: Writer,
    core: CoreOf,
    blobs: BlobsOf,
    wake: Wake,
    choice: ChoiceOf,
    idempotency_key: Key = None,
) -> SigningRequests:
    """Have a document signed by several persons in their order.

    Each has a request of his own. The result of the last is the document with all signatures;
    where one does not sign, those after him are cancelled.
    """
    workflow = await _checked(
        idempotency_key, principal, wanted, blobs, {"/document/file": wanted.document.file}
    )
    turns = []
    for place, signer in enumerate(wanted.signers):
        request_id = uuid5(workflow, str(place))
        stamp = signer.stamp or wanted.stamp
        turns.append(
            InTurn(
                request_id=request_id,
                ca_name=signer.ca_name,
                sealed_user=core.keys.seal(signer.user, str(request_id)),
                options=Options(
                    reason=signer.reason or wanted.reason,
                    stamp=Mark(stamp.anchor, stamp.page, stamp.box) if stamp else None,
                    final=signer.seal,
                    augment=wanted.augment,
                ),
            )
        )
    whole = Request(
        request_id=workflow,
        client=principal.client_id,
        dossier_code=None,
        agency=wanted.agency,
        procedure=wanted.procedure,
        document_id=wanted.document.id,
        document_name=wanted.document.name,
        file=wanted.document.file,
        ca_name="",
        sealed_user="",
        profile=wanted.profile,
        workflow=workflow,
        created_at=datetime.now(UTC),
        traceparent=current_traceparent(),
    )
    requests = in_turn(whole, turns)
    async with core.outbox.transaction() as unit:
        taken = await take_in(unit, core.keys, [placed(choice, one) for one in requests])
    wake()
    return SigningRequests(id=workflow, items=[view(one) for one in taken])


@router.post("/signing-batches", status_code=202, openapi_extra=KEY_HEADER)
async def request_batch(
    wanted: NewBatch,
    principal: Writer,
    core: CoreOf,
    blobs: BlobsOf,
    wake: Wake,
    choice: ChoiceOf,
    idempotency_key: Key = None,
) -> SigningRequests:
    """Have several documents signed by one person, who is asked once for as many as his provider
    takes together. Each document has its own outcome."""
    files = {f"/documents/{n}/file": one.file for n, one in enumerate(wanted.documents)}
    batch = await _checked(idempotency_key, principal, wanted, blobs, files)
    now = datetime.now(UTC)
    requests = []
    for place, document in enumerate(wanted.documents):
        request_id = uuid5(batch, str(place))
        requests.append(
            Request(
                request_id=request_id,
                client=principal.client_id,
                dossier_code=None,
                agency=wanted.agency,
                procedure=wanted.procedure,
                document_id=document.id,
                document_name=document.name,
                file=document.file,
                ca_name=wanted.signer.ca_name,
                sealed_user=core.keys.seal(wanted.signer.user, str(request_id)),
                profile=wanted.profile,
                options=wanted.options(),
                batch=batch,
                place=place,
                created_at=now,
                traceparent=current_traceparent(),
            )
        )
    async with core.outbox.transaction() as unit:
        taken = await take_in(unit, core.keys, [placed(choice, one) for one in requests])
    wake()
    return SigningRequests(id=batch, items=[view(one) for one in taken])


async def _checked(
    key: str | None,
    principal: Principal,
    wanted: NewWorkflow | NewBatch,
    blobs: Blobs,
    files: dict[str, str],
) -> UUID:
    """The id of what is asked for, by a client that may."""
    kind = type(wanted).__name__
    given = key_given(key)
    check_rights(principal, wanted.agency, wanted.procedure)
    await check_files(blobs, files)
    return uuid5(NAMESPACE, f"{kind}\n{principal.client_id}\n{given}")
