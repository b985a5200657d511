"""What the routes work with; put together in ``main``."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from common.database import Database
from common.sealing import KeyRing
from gateway.api.addresses import Addresses
from gateway.clients import Behind, Catalogue
from gateway.use_cases.assertions import Assertions
from gateway.use_cases.bulk import Bulks
from gateway.use_cases.certificates import Certificates
from gateway.use_cases.codes import Codes, NewDossiers
from gateway.use_cases.credentials import Credentials
from gateway.use_cases.dossiers import Dossiers
from gateway.use_cases.downloads import Downloads
from gateway.use_cases.evidence import Evidence
from gateway.use_cases.intake import Intake
from gateway.use_cases.limits import Limits
from gateway.use_cases.log_export import LogExport
from gateway.use_cases.log_works import LogWorks
from gateway.use_cases.partial_uploads import PartialUploads
from gateway.use_cases.reference import Reference
from gateway.use_cases.refusals import Refusals
from gateway.use_cases.registry import Registry
from gateway.use_cases.revocation import Revocation
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
    assertions: Assertions
    certificates: Certificates
    registry: Registry
    """Clients with their rights and limits, in memory."""
    revocation: Revocation
    reference: Reference
    intake: Intake
    bulks: Bulks
    codes: Codes
    new_dossiers: NewDossiers
    waiting: Waiting
    uploads: Uploads
    partial_uploads: PartialUploads
    downloads: Downloads
    dossiers: Dossiers
    catalog: Catalogue
    signatures: Behind
    verifications: Behind
    """The same service, with a patience of its own: documents take longer than reads."""
    log_works: LogWorks
    """The message log: ``log_works.log`` writes it."""
    limits: Limits
    addresses: Addresses
    refusals: Refusals
    log_export: LogExport
    evidence: Evidence
    portal: Behind | None = None
    """What speaks with the national portal."""


def gateway_of(request: Request) -> Gateway:
    """The gateway (a dependency of routes)."""
    gateway: Gateway = request.app.state.gateway
    return gateway


GatewayOf = Annotated[Gateway, Depends(gateway_of)]
