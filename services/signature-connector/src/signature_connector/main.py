"""The signature connector's composition root."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from fastapi import FastAPI

from common.blobs import Blobs
from common.exchanges import Exchanges
from common.http import http_client
from common.service import Core, Parts, Shared, create_service
from signature_connector.api import router
from signature_connector.consumers import subscriptions
from signature_connector.providers.esign import EsignGateway
from signature_connector.settings import Settings
from signature_connector.store.erasure import SEAL_PLACES
from signature_connector.use_cases.book import Book
from signature_connector.use_cases.signers import Signers
from signature_connector.use_cases.steps import Steps
from signature_connector.verification.bundle import read_bundle
from signature_connector.verification.isolation import Examiner


def create_app(settings: Settings, shared: Shared = Shared()) -> FastAPI:  # noqa: B008 - frozen
    """The service's application."""

    @asynccontextmanager
    async def assemble(core: Core) -> AsyncIterator[Parts]:
        blobs = Blobs(settings.blobs_url)
        examiner = Examiner(
            read_bundle(settings.trust_roots),
            processes=settings.verifiers,
            seconds=settings.verification_seconds,
            memory=settings.verification_memory,
        )
        async with (
            http_client(
                base_url=settings.esign_url, connections=settings.parallel + 1, kept=False
            ) as http,
            Exchanges("signing-gateway", core.outbox, seconds=settings.usage_seconds) as exchanges,
        ):
            gateway = EsignGateway(
                http,
                token=settings.esign_token,
                call_seconds=settings.call_seconds,
                user_seconds=settings.user_seconds,
                longest=2 * settings.file_limit,
            )
            steps = Steps(
                gateway,
                blobs,
                examiner,
                core.keys,
                file_limit=settings.file_limit,
                patience=timedelta(hours=settings.patience_hours),
            )
            signers = Signers(
                Book(core.database, core.outbox),
                steps,
                core.telemetry,
                parallel=settings.parallel,
                lease=settings.lease_seconds,
                drain=settings.shutdown_seconds,
                exchanges=exchanges,
            )
            try:
                yield Parts(
                    subscriptions=subscriptions(core.keys, signers.wake),
                    workers=[signers.run, exchanges.run],
                    state={"blobs": blobs, "wake": signers.wake, "seal_places": SEAL_PLACES},
                )
            finally:
                await examiner.close()

    return create_service(
        "signature-connector", settings, assemble, routers=[router], shared=shared
    )
