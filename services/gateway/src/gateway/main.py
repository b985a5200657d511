"""The gateway, put together."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from fastapi import FastAPI

from common.blobs import Blobs
from common.file_links import links_of
from common.http import http_client
from common.service import Core, Parts, Shared, create_service
from gateway.api import ROUTERS, document
from gateway.api.parts import Gateway
from gateway.clients import Behind
from gateway.consumers import subscriptions
from gateway.domain.submissions import Fingerprints
from gateway.settings import Settings
from gateway.use_cases.codes import Codes, NewDossiers
from gateway.use_cases.credentials import Credentials, Registration, register
from gateway.use_cases.dossiers import Dossiers
from gateway.use_cases.downloads import Downloads
from gateway.use_cases.intake import Intake
from gateway.use_cases.reference import Reference
from gateway.use_cases.tokens import SigningKey, Tokens
from gateway.use_cases.uploads import LARGEST_FILE, Uploads
from gateway.use_cases.waiting import Waiting

_LARGEST_FORM = 16 * 1024
_UPSTREAM_CONNECTIONS = 64


def create_app(settings: Settings, shared: Shared = Shared()) -> FastAPI:  # noqa: B008 - frozen
    """The gateway as an application. It checks tokens with its own key, without a call."""
    key = SigningKey(settings.signing_key)

    @asynccontextmanager
    async def assemble(core: Core) -> AsyncIterator[Parts]:
        async with http_client(
            timeout=settings.upstream_seconds, connections=_UPSTREAM_CONNECTIONS
        ) as http:

            def behind(url: str) -> Behind:
                return Behind(http, url, settings.upstream_seconds)

            await register(core.database, _registrations(settings))
            credentials = Credentials(core.database)
            await credentials.prepare()
            reference = Reference(core.database)
            await reference.refresh()
            intake = Intake(core.outbox, _fingerprints(settings))
            codes = Codes(core.database)
            waiting = Waiting(core.database)
            blobs = Blobs(settings.blobs_url)
            gateway = Gateway(
                database=core.database,
                keys=core.keys,
                tokens=Tokens(
                    key, settings.token_issuer, settings.token_audience, settings.token_seconds
                ),
                credentials=credentials,
                reference=reference,
                intake=intake,
                codes=codes,
                new_dossiers=NewDossiers(intake, codes, core.database),
                waiting=waiting,
                uploads=Uploads(blobs, core.database),
                downloads=Downloads(blobs, core.database, links_of(settings)),
                dossiers=Dossiers(behind(settings.dossier_url), core.database),
                catalog=behind(settings.catalog_url),
                signatures=behind(settings.signature_url),
                portal=behind(settings.portal_sync_url) if settings.portal_sync_url else None,
            )
            yield Parts(
                subscriptions=subscriptions(waiting),
                workers=(reference.run, waiting.run, blobs.run),
                state={"gateway": gateway},
                checks={"catalogue": reference.ready},
            )

    app = create_service(
        "gateway",
        settings,
        assemble,
        routers=ROUTERS,
        body_limits={
            "/v1/files": LARGEST_FILE,
            "/exchange/v1/upload": LARGEST_FILE,
            "/oauth/": _LARGEST_FORM,
        },
        shared=replace(shared, token_keys=key.token_keys()),
    )
    document.describe(app)
    return app


def _registrations(settings: Settings) -> list[Registration]:
    return [
        Registration(
            seed.client(),
            seed.secret.get_secret_value(),
        )
        for seed in settings.client_seeds()
    ]


def _fingerprints(settings: Settings) -> Fingerprints:
    if settings.sealing_key is None:  # the settings have refused that already
        raise ValueError("no sealing key")
    return Fingerprints(settings.sealing_keys, settings.sealing_key)
