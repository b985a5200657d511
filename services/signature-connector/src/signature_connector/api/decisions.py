"""Cancelling, and what operators decide about requests that are held."""

from typing import Annotated, Literal
from uuid import UUID

import structlog
from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, StrictBool, model_validator

from common.blobs import BlobDamaged, BlobMissing
from common.operators import Reason
from common.service import CoreOf
from signature_connector.api.document import problems
from signature_connector.api.parts import Operator, StepsOf, Wake, Writer, found
from signature_connector.api.requests import SigningRequest, view
from signature_connector.errors import NotHeldRequest, NotTheSignedFile, UnknownFile
from signature_connector.use_cases import decisions
from signature_connector.use_cases.decisions import Decision, NotHeld, NotSigned

log = structlog.get_logger()
router = APIRouter(
    prefix="/v1/signing-requests",
    tags=["signing"],
    responses=problems(401, 403, 404, 422, 503),
)


class Decided(BaseModel):
    """What an operator decides about a held request.

    ``confirm``: the person has signed; ``file`` is the signed document, which has to pass the
    verdict. ``repeat``: the person agreed, as the operator confirms, to be asked once more.
    ``give-up``: it ends without a signature.
    """

    model_config = ConfigDict(extra="forbid")

    decision: Literal["confirm", "repeat", "give-up"]
    reason: Reason
    file: Annotated[str | None, Field(pattern=r"^[0-9a-f]{64}$")] = None
    """SHA-256 of the signed document in the file store."""
    signer_agreed: StrictBool = False
    """The signer agreed to be asked again, and knows that the first call may have signed."""

    @model_validator(mode="after")
    def _complete(self) -> "Decided":
        if (self.decision == "confirm") != (self.file is not None):
            raise ValueError("a file goes with confirm, and with nothing else")
        if (self.decision == "repeat") != self.signer_agreed:
            raise ValueError("signer_agreed goes with repeat, and with nothing else")
        return self


@router.post("/{request_id}/cancellation")
async def cancel_signature(
    request_id: UUID, principal: Writer, core: CoreOf, wake: Wake
) -> SigningRequest:
    """Cancel a request. Once the person may have been asked it goes on to its own end."""
    await found(core, principal, request_id)
    async with core.outbox.transaction() as unit:
        request = await decisions.cancel(unit, request_id, principal.client_id)
    wake()
    return view(request) if request else view(await found(core, principal, request_id))


@router.post("/{request_id}/decision", responses=problems(409, 413))
async def decide_held(
    request_id: UUID,
    wanted: Decided,
    principal: Operator,
    core: CoreOf,
    steps: StepsOf,
    wake: Wake,
) -> SigningRequest:
    """Decide about a request that is held. Who did so, when and why is written down."""
    request = await found(core, principal, request_id)
    decision = Decision(wanted.decision, principal.client_id, wanted.reason, wanted.file)
    try:
        if wanted.file is not None and request.state == "manual-review":
            await decisions.judged(steps, request, wanted.file)
        async with core.outbox.transaction() as unit:
            decided = await decisions.decide(unit, request_id, decision)
    except NotHeld as error:
        raise NotHeldRequest(
            "Yêu cầu ký không chờ xử lý thủ công",
            "The request does not wait for an operator",
        ) from error
    except (BlobMissing, BlobDamaged) as error:
        raise UnknownFile(
            "Tệp đã ký không có trong kho",
            "The signed document is not in the file store",
        ) from error
    except NotSigned as error:
        refusal = error.report.refusal
        detail = refusal.body() if refusal else {}
        raise NotTheSignedFile(
            str(detail.get("vi")),
            str(detail.get("en")),
            errors=[
                {
                    "pointer": "/file",
                    "detail": str(detail.get("vi")),
                    "detail_en": str(detail.get("en")),
                }
            ],
        ) from error
    log.info("held request decided", decision=wanted.decision, request=str(request_id))
    wake()
    return view(decided)
