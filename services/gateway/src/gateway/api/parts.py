"""What the routes work with; put together in ``main``."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from common.database import Database
from common.sealing import KeyRing
from gateway.clients import Behind
from gateway.use_cases.codes import Codes, NewDossiers
from gateway.use_cases.credentials import Credentials
from gateway.use_cases.dossiers import Dossiers
from gateway.use_cases.downloads import Downloads
from gateway.use_cases.intake import Intake
from gateway.use_cases.reference import Reference
from gateway.use_cases.tokens import Tokens
from gateway.use_cases.uploads import Uploads
from gateway.use_cases.waiting import Waiting


@dataclass(frozen=True, slots=True)
class Gateway:
    """The use cases, and the services behind."""

    database: Database
    keys: KeyRing
    tokens: Tokens
    credentials: Credentials
    reference: Reference
    intake: Intake
    codes: Codes
    new_dossiers: NewDossiers
    waiting: Waiting
    uploads: Uploads
    downloads: Downloads
    dossiers: Dossiers
    catalog: Behind
    signatures: Behind
    portal: Behind | None = None
    """What speaks with the national portal."""


def gateway_of(request: Request) -> Gateway:
    """The gateway (a dependency of routes)."""
    gateway: Gateway = request.app.state.gateway
    return gateway


GatewayOf = Annotated[Gateway, Depends(gateway_of)]
