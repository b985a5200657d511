"""Taking requests in, from events and from REST."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

from common.contracts.dossier import SigningRequested
from common.envelope import Received
from common.outbox import Unit
from common.sealing import KeyRing, SealError
from signature_connector.domain.evidence import record
from signature_connector.domain.profiles import PROFILES, Options
from signature_connector.domain.requests import ERASED, PROFILE, Request
from signature_connector.errors import RequestConflict
from signature_connector.store import requests as store
from signature_connector.use_cases.providers import Choice


async def take_in(unit: Unit, keys: KeyRing, wished: Sequence[Request]) -> list[Request]:
    """Add requests; one that is known already is answered with what it has become.

    Raises:
        RequestConflict: a known id with another document, signer, profile or place; or a workflow
            or batch that is known with fewer requests, or with more.
    """
    first: dict[UUID, Request] = {}
    for request in wished:
        _check_same(first.setdefault(request.request_id, request), request, keys)
    arrivals = [(request, record(request, None, request.created_at)) for request in first.values()]
    added = await store.insert(unit.connection, arrivals)
    known = await store.find(unit.connection, list(first.keys() - added))
    for request in known.values():
        _check_same(request, first[request.request_id], keys)
    await _check_whole(unit, first, known)
    return [known.get(request.request_id, request) for request in wished]


async def _check_whole(
    unit: Unit, wished: Mapping[UUID, Request], known: Mapping[UUID, Request]
) -> None:
    """What belongs together is known as a whole, or not at all."""
    groups = {request.workflow or request.batch for request in known.values()} - {None}
    if not groups:
        return
    more = any(
        (request.workflow or request.batch) in groups and request.request_id not in known
        for request in wished.values()
    )
    if more or await store.others_of(unit.connection, known.values()):
        raise RequestConflict(
            "Yêu cầu đã có với số người ký hoặc số tài liệu khác",
            "The request is known with other signers, or with other documents",
        )


def _check_same(known: Request, again: Request, keys: KeyRing) -> None:
    if known is again:
        return
    same = known.same_wish(again) and known.owner == again.owner
    if not same or not _same_signer(known, again, keys):
        raise RequestConflict(
            "Yêu cầu đã có với tài liệu, người ký, hồ sơ hoặc cách ký khác",
            "The request is known with another document, signer, dossier or profile",
        )


def _same_signer(known: Request, again: Request, keys: KeyRing) -> bool:
    if known.sealed_user in (again.sealed_user, ERASED):
        return True
    try:
        return bool(
            keys.open(known.sealed_user, known.owner) == keys.open(again.sealed_user, again.owner)
        )
    except SealError:
        return False


def placed(choice: Choice, wish: Request) -> Request:
    """The wish with the pool that it belongs to: the one of the provider that is tried first."""
    candidates = choice.choose(wish.agency, wish.ca_name)
    return replace(wish, waits=candidates[0].abilities.waits if candidates else True)


def wish_of(received: Received, event: SigningRequested, traceparent: str | None) -> Request:
    """The request that an event asks for."""
    return Request(
        request_id=event.request_id,
        client=received.producer,
        dossier_code=event.dossier_code,
        agency=event.agency,
        procedure=event.procedure_code,
        document_id=event.document_id,
        document_name=event.document_name,
        file=event.file,
        ca_name=event.signer.ca_name,
        sealed_user=event.signer.sealed_user,
        profile=event.profile if event.profile in PROFILES else PROFILE,
        options=Options(reason=event.signer.reason).written(),
        created_at=datetime.now(UTC),
        traceparent=traceparent,
        correlation=received.correlation,
        causation=received.id,
    )
