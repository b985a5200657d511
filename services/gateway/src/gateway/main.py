"""The gateway, put together."""

import hashlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

from fastapi import FastAPI
from starlette.middleware import Middleware

from common.blobs import Blobs
from common.database import Database
from common.file_links import links_of
from common.http import http_client
from common.service import Core, Parts, Shared, create_service
from gateway.api import ROUTERS, document, verifications
from gateway.api.addresses import Addresses
from gateway.api.bulk_lines import LARGEST_BULK
from gateway.api.languages import Languages
from gateway.api.log_export import EXPORT_SECONDS
from gateway.api.parts import Gateway
from gateway.api.protection import Protection, admission
from gateway.api.sandbox import SandboxDoor
from gateway.api.submissions import content_of
from gateway.clients import Behind, Catalogue
from gateway.consumers import subscriptions
from gateway.domain.submissions import Fingerprints
from gateway.settings import Settings
from gateway.store.log_export import SealedLog
from gateway.use_cases.assertions import Assertions
from gateway.use_cases.bulk import Bulks
from gateway.use_cases.callers import Callers
from gateway.use_cases.certificates import Certificates
from gateway.use_cases.codes import Codes, NewDossiers
from gateway.use_cases.credentials import Credentials, Registration, register
from gateway.use_cases.dossiers import Dossiers
from gateway.use_cases.downloads import Downloads
from gateway.use_cases.evidence import Evidence, Signer, signer_of
from gateway.use_cases.intake import Intake
from gateway.use_cases.issuers import Issuers
from gateway.use_cases.keeping import Keeping
from gateway.use_cases.limits import Defaults, Limits, Rate
from gateway.use_cases.log_archive import Archive
from gateway.use_cases.log_export import LogExport
from gateway.use_cases.log_key import LogKey
from gateway.use_cases.log_works import LogWorks, log_works
from gateway.use_cases.partial_uploads import PartialUploads, Rules
from gateway.use_cases.reference import Reference
from gateway.use_cases.refusals import Refusals
from gateway.use_cases.registry import Registry
from gateway.use_cases.revocation import Revocation
from gateway.use_cases.timestamps import Authorities, trusted_certificates
from gateway.use_cases.tokens import SigningKey, Tokens
from gateway.use_cases.uploads import LARGEST_FILE, Uploads
from gateway.use_cases.waiting import Waiting

_LARGEST_FORM = 16 * 1024
_TIME_LIMITS = {
    "/v1/dossiers/bulk": 960.0,
    "/v1/files": 660.0,
    "/v1/uploads": 660.0,
    "/exchange/v1/upload": 660.0,
    "/internal/message-log": EXPORT_SECONDS,
    verifications.PATH: verifications.SECONDS + 30.0,
}
"""Seconds, where a request has to do with more than a document."""
_UPSTREAM_CONNECTIONS = 32
"""Of each service behind."""


def create_app(settings: Settings, shared: Shared = Shared()) -> FastAPI:  # noqa: B008 - frozen
    """The gateway as an application. It checks tokens with its own key, without a call."""
    key = SigningKey(settings.signing_key)

    @asynccontextmanager
    async def assemble(core: Core) -> AsyncIterator[Parts]:
        async with AsyncExitStack() as stack:

            async def behind(
                name: str, url: str, seconds: float = settings.upstream_seconds
            ) -> Behind:
                http = await stack.enter_async_context(
                    http_client(timeout=seconds, connections=_UPSTREAM_CONNECTIONS)
                )
                return Behind(http, url, seconds, name)

            await register(core.database, _registrations(settings))
            credentials = Credentials(core.database)
            await credentials.prepare()
            registry = Registry(core.database)
            await registry.refresh()
            tokens = Tokens(
                key, settings.token_issuer, settings.token_audience, settings.token_seconds
            )
            certificates = Certificates(settings.trusted_proxies)
            issuers = Issuers(core.http, settings.external_issuers)
            core.tokens = Callers(tokens, registry, issuers, certificates)
            reference = Reference(core.database)
            await reference.refresh()
            works = await stack.enter_async_context(_message_log(core, settings))
            limits, refusals = await stack.enter_async_context(_limits(core, settings))
            sealed, exports = SealedLog(core.database), log_export(settings, core.database)
            intake = Intake(core.outbox, _fingerprints(settings), works.log)
            codes = Codes(core.database)
            waiting = Waiting(core.database)
            keeping = Keeping(core.database, settings.key_days)
            blobs = Blobs(settings.blobs_url)
            partial_uploads = PartialUploads(
                blobs,
                core.database,
                Rules(settings.largest_upload, settings.open_uploads, settings.upload_seconds),
            )
            gateway = Gateway(
                database=core.database,
                keys=core.keys,
                tokens=tokens,
                credentials=credentials,
                assertions=Assertions(core.database, settings.token_names(), key.public),
                certificates=certificates,
                registry=registry,
                revocation=Revocation(core.database, registry, tokens),
                reference=reference,
                intake=intake,
                bulks=Bulks(core.database),
                codes=codes,
                new_dossiers=NewDossiers(intake, codes, core.database),
                waiting=waiting,
                uploads=Uploads(blobs, core.database),
                partial_uploads=partial_uploads,
                downloads=Downloads(blobs, core.database, links_of(settings)),
                dossiers=Dossiers(await behind("dossier", settings.dossier_url), core.database),
                catalog=Catalogue(
                    await behind("catalog", settings.catalog_url), settings.catalogue_cache_bytes
                ),
                signatures=await behind("signature-connector", settings.signature_url),
                verifications=await behind(
                    "signature verification", settings.signature_url, verifications.SECONDS
                ),
                log_works=works,
                log_export=exports,
                evidence=Evidence(
                    sealed,
                    exports,
                    settings.token_issuer,
                    works.authorities,
                    _evidence_signer(settings),
                ),
                limits=limits,
                addresses=Addresses(
                    settings.trusted_proxies, _address_key(settings), settings.refusal_addresses
                ),
                refusals=refusals,
                portal=await behind("national-portal-sync", settings.portal_sync_url)
                if settings.portal_sync_url
                else None,
            )
            yield Parts(
                subscriptions=subscriptions(waiting, works.log, content_of),
                workers=(
                    registry.run,
                    reference.run,
                    waiting.run,
                    blobs.run,
                    partial_uploads.run,
                    keeping.run,
                    limits.run,
                    refusals.run,
                    *works.workers(),
                    Archive(core.database, exports, blobs, settings.message_log_days).run,
                ),
                state={"gateway": gateway, "admission": admission(limits)},
                checks={"catalogue": reference.ready},
            )

    app = create_service(
        "gateway",
        settings,
        assemble,
        routers=ROUTERS,
        body_limits={
            "/v1/files": LARGEST_FILE,
            "/v1/uploads/": LARGEST_FILE,
            "/v1/dossiers/bulk": LARGEST_BULK,
            "/exchange/v1/upload": LARGEST_FILE,
            "/oauth/": _LARGEST_FORM,
            verifications.PATH: verifications.LARGEST,
        },
        time_limits=_TIME_LIMITS,
        shared=replace(shared, token_keys=key.token_keys()),
    )
    app.user_middleware.append(
        Middleware(Protection, origins=settings.cors_origins, hsts_seconds=settings.hsts_seconds)
    )
    # Innermost, so that limits, request ids and counts hold for sandbox clients too.
    app.user_middleware.append(
        Middleware(SandboxDoor, url=settings.sandbox_url, seconds=settings.sandbox_seconds)
    )
    app.add_middleware(Languages)
    document.describe(app)
    return app


@asynccontextmanager
async def _limits(core: Core, settings: Settings) -> AsyncIterator[tuple[Limits, Refusals]]:
    defaults = Defaults(
        client=Rate(settings.rate_per_second, settings.rate_burst),
        per_day=settings.day_quota,
        tokens=Rate(settings.token_rate_per_second, settings.token_rate_burst),
        stranger=Rate(settings.stranger_rate_per_second, settings.stranger_rate_burst),
        replicas=settings.limit_replicas,
    )
    limits = Limits(core.database, defaults)
    refusals = Refusals(core.database, core.telemetry.registry, settings.refusal_days)
    try:
        yield limits, refusals
    finally:
        await limits.close()
        await refusals.write()


def _address_key(settings: Settings) -> bytes:
    """Of the hash under which addresses are compared; it changes with the sealing key."""
    sealing = settings.sealing_keys[settings.sealing_key or ""].get_secret_value()
    return hashlib.sha256(b"addresses of callers\0" + sealing.encode()).digest()


@asynccontextmanager
async def _message_log(core: Core, settings: Settings) -> AsyncIterator[LogWorks]:
    async with http_client(timeout=settings.tsa_seconds) as http:
        authorities = None
        if settings.tsa_urls:
            trusted = trusted_certificates(settings.tsa_certificates)
            authorities = Authorities(http, settings.tsa_urls, trusted, settings.tsa_seconds)
        works = log_works(
            core.database,
            core.telemetry.registry,
            LogKey(settings.log_key or settings.signing_key),
            authorities,
            issuer=settings.token_issuer,
            partitions=settings.message_log_partitions,
            seconds=settings.message_log_seconds,
            tsa_seconds=settings.tsa_seconds,
        )
        await works.sealer.prepare()
        yield works


def log_export(settings: Settings, database: Database) -> LogExport:
    """What writes exports of the message log."""
    key = LogKey(settings.log_key or settings.signing_key)
    return LogExport(SealedLog(database), key, settings.token_issuer)


def _evidence_signer(settings: Settings) -> Signer | None:
    """Who signs containers of evidence, if anybody is to."""
    if settings.evidence_key is None:
        return None
    return signer_of(settings.evidence_key, settings.evidence_certificate)


def _registrations(settings: Settings) -> list[Registration]:
    return [
        Registration(
            seed.client(),
            seed.secret.get_secret_value() if seed.secret else None,
        )
        for seed in settings.client_seeds()
    ]


def _fingerprints(settings: Settings) -> Fingerprints:
    if settings.sealing_key is None:  # the settings have refused that already
        raise ValueError("no sealing key")
    return Fingerprints(settings.sealing_keys, settings.sealing_key)
