"""The signature connector's composition root."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from fastapi import FastAPI

from common.blobs import Blobs
from common.exchanges import Exchanges
from common.http import http_client
from common.service import Core, Parts, Shared, create_service
from signature_connector import api, api_verifications
from signature_connector.clients.revocation import responders
from signature_connector.consumers import subscriptions
from signature_connector.providers.esign import EsignGateway
from signature_connector.settings import Settings
from signature_connector.store.erasure import SEAL_PLACES
from signature_connector.use_cases.book import Book
from signature_connector.use_cases.revocation import Revocation
from signature_connector.use_cases.signers import Signers
from signature_connector.use_cases.steps import Steps
from signature_connector.use_cases.trust import TrustRefresh
from signature_connector.use_cases.verifications import Verifications
from signature_connector.verification.isolation import Examiner
from signature_connector.verification.policies import Policies, read_policies

_FORM = 16 * 1024
"""Bytes of a form around its parts."""


def create_app(settings: Settings, shared: Shared = Shared()) -> FastAPI:  # noqa: B008 - frozen
    """The service's application."""

    @asynccontextmanager
    async def assemble(core: Core) -> AsyncIterator[Parts]:
        blobs = Blobs(settings.blobs_url)
        policies = read_policies(settings.trust_roots)
        examiner, service_examiner = (
            Examiner(
                policies,
                processes=processes,
                seconds=settings.verification_seconds,
                memory=settings.verification_memory,
            )
            for processes in (settings.verifiers, settings.service_verifiers)
        )

        def renew(policies: Policies) -> None:
            examiner.renew(policies)
            service_examiner.renew(policies)

        trust = TrustRefresh(
            settings.trust_roots,
            renew,
            core.telemetry.registry,
            seconds=settings.trust_seconds,
        )
        async with (
            http_client(base_url=settings.esign_url, connections=settings.parallel + 1) as http,
            Exchanges("signing-gateway", core.outbox, seconds=settings.usage_seconds) as exchanges,
            responders(
                seconds=settings.revocation_seconds,
                most_crl=settings.crl_limit,
                networks=settings.revocation_networks,
            ) as asking,
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
                    workers=[signers.run, exchanges.run, trust.run],
                    state={
                        "blobs": blobs,
                        "wake": signers.wake,
                        "seal_places": SEAL_PLACES,
                        "verifications": Verifications(
                            service_examiner, Revocation(service_examiner, asking)
                        ),
                    },
                )
            finally:
                await examiner.close()
                await service_examiner.close()

    return create_service(
        "signature-connector",
        settings,
        assemble,
        routers=[api.router, api_verifications.router],
        body_limits={api_verifications.PATH: settings.service_file_limit + _FORM},
        time_limits={api_verifications.PATH: 3 * settings.verification_seconds + 30},
        shared=shared,
    )
