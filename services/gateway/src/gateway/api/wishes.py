"""From a body that a client sent to a wish that intake can take: rights, codes, files, sealing.

The same for a single request, a line of a bulk request and the lower level's door.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from common.auth import Principal
from common.contracts.commands import Command, Lane
from common.errors import Invalid
from common.middleware import request_id
from common.telemetry import current_traceparent
from gateway.api.bodies import Submit
from gateway.api.parts import Gateway
from gateway.api.steps import AnyStep, Complete, Transfer, command_of
from gateway.domain.codes import vietnam_day
from gateway.domain.submissions import dossier_agency
from gateway.errors import IdempotencyKeyMissing, may_not_act_for, may_not_handle
from gateway.use_cases.intake import Wish
from gateway.use_cases.message_log import Exchange


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks, and what is the same for all it asks at once.

    Attributes:
        key: the ``Idempotency-Key``, or what stands for it in a line of a bulk request.
        expected: ``If-Match``.
        exchange: what is put down in the message log once it is taken in.
    """

    principal: Principal
    key: str | None
    lane: Lane = "live"
    expected: str | None = None
    exchange: Exchange | None = None

    def wish(
        self,
        code: str,
        command: Command,
        content: bytes,
        agency: str | None = None,
        *,
        issued: bool = False,
    ) -> Wish:
        """The wish, as part of the request that is being answered."""
        return Wish(
            principal=self.principal,
            dossier_code=code,
            agency=agency,
            command=command,
            content=content,
            key=self.key,
            traceparent=current_traceparent(),
            request_id=request_id.get(),
            issued=issued,
            expected=self.expected,
            lane=self.lane,
            exchange=self.exchange,
        )


@dataclass(frozen=True, slots=True)
class NewDossier:
    """A dossier that may be taken in; what is left is its code, where it came without one.

    Attributes:
        code: the source system's own, if it has one.
        agency: the dossier's (new form).
        content: canonical, to tell a repetition by.
        wish: the wish under a code.
    """

    code: str | None
    agency: str
    content: bytes = field(repr=False)
    wish: Callable[[str], Wish] = field(repr=False)


async def new_dossier(gateway: Gateway, asker: Asker, body: Submit) -> NewDossier:
    """A dossier, checked.

    Raises:
        Forbidden: the client has no rights for its agency or procedure.
        Invalid, UnknownAgency, UnknownProcedure, UnknownFile, CodeAgencyMismatch: see there.
        IdempotencyKeyMissing: without a code, nothing else would tell a repetition.
        NotReady: the catalogue has not come in completely yet.
    """
    principal = asker.principal
    agency = _agency(body, asker.key)
    if not principal.may_act_for(agency):
        raise may_not_act_for(agency)
    if not principal.may_handle(body.procedure):
        raise may_not_handle(body.procedure)
    await gateway.reference.agency(agency, "/code" if body.agency is None else "/agency")
    await gateway.uploads.check(principal.client_id, body.files())
    procedure = await gateway.reference.procedure(body.procedure, vietnam_day(body.submitted_at))
    content = body.canonical()

    def wish(code: str) -> Wish:
        command = body.command(procedure, partial(gateway.keys.seal, owner=code))
        return asker.wish(code, command, content, agency, issued=body.code is None)

    return NewDossier(body.code, agency, content, wish)


async def step_wish(gateway: Gateway, asker: Asker, code: str, body: AnyStep) -> Wish:
    """A step, checked as far as it can be here.

    Raises:
        CodeAgencyMismatch: the code has no usable agency part.
        UnknownFile, NotAPdf, UnknownAgency: see there.
    """
    dossier_agency(code)
    to_sign = body.files_to_sign() if isinstance(body, Complete) else ()
    await gateway.uploads.check(asker.principal.client_id, body.files(), to_sign)
    if isinstance(body, Transfer):
        await gateway.reference.agency(body.agency, "/agency")
    command = command_of(body, partial(gateway.keys.seal, owner=code))
    return asker.wish(code, command, body.canonical())


def _agency(body: Submit, key: str | None) -> str:
    """The agency of a new dossier.

    Raises:
        Invalid: neither a code nor an agency names it.
        IdempotencyKeyMissing: without a code, nothing else would tell a repetition.
        CodeAgencyMismatch: see ``gateway.domain.submissions.dossier_agency``.
    """
    if body.code is not None:
        return dossier_agency(body.code, body.agency)
    if body.agency is None:
        raise Invalid(
            "Hồ sơ chưa có mã thì phải có mã cơ quan để cấp mã",
            "A dossier without a code needs the agency whose code is to be issued",
            errors=[{"pointer": "/agency", "detail": "thiếu", "detail_en": "missing"}],
        )
    if key is None:
        raise IdempotencyKeyMissing(
            "Hồ sơ chưa có mã cần Idempotency-Key để gửi lại được an toàn",
            "A dossier without a code needs an Idempotency-Key, which makes sending it again safe",
        )
    return body.agency
