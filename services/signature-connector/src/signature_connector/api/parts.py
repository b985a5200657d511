"""What the routes are given."""

from collections.abc import Callable
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Request

from common.auth import Principal, requires
from common.blobs import Blobs
from common.service import Core
from signature_connector.domain import requests
from signature_connector.errors import UnknownRequest
from signature_connector.store import requests as store
from signature_connector.use_cases.callbacks import Callbacks
from signature_connector.use_cases.providers import Choice
from signature_connector.use_cases.steps import Steps


def _blobs(request: Request) -> Blobs:
    blobs: Blobs = request.app.state.blobs
    return blobs


def _wake(request: Request) -> Callable[[], None]:
    wake: Callable[[], None] = request.app.state.wake
    return wake


def _choice(request: Request) -> Choice:
    choice: Choice = request.app.state.choice
    return choice


def _steps(request: Request) -> Steps:
    steps: Steps = request.app.state.steps
    return steps


def _callbacks(request: Request) -> Callbacks:
    callbacks: Callbacks = request.app.state.callbacks
    return callbacks


BlobsOf = Annotated[Blobs, Depends(_blobs)]
Wake = Annotated[Callable[[], None], Depends(_wake)]
ChoiceOf = Annotated[Choice, Depends(_choice)]
StepsOf = Annotated[Steps, Depends(_steps)]
CallbacksOf = Annotated[Callbacks, Depends(_callbacks)]
Writer = Annotated[Principal, requires("signing:write")]
Reader = Annotated[Principal, requires("signing:read")]
Operator = Annotated[Principal, requires("operations")]


async def found(core: Core, principal: Principal, request_id: UUID) -> requests.Request:
    """A request that the caller may know of.

    Raises:
        UnknownRequest: there is none.
    """
    async with core.database.reading() as connection:
        request = (await store.find(connection, [request_id])).get(request_id)
    return allowed(principal, request)


def allowed(principal: Principal, request: requests.Request | None) -> requests.Request:
    """The request, if the caller may know of it.

    Raises:
        UnknownRequest: there is none, or none of the caller's agencies and procedures.
    """
    if request is None or not (
        principal.may_act_for(request.agency) and principal.may_handle(request.procedure)
    ):
        raise UnknownRequest(
            "Không có yêu cầu ký với mã này",
            "There is no signing request of this id",
        )
    return request
