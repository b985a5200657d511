"""The signature connector's composition root."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial

from fastapi import FastAPI

from common.blobs import Blobs
from common.exchanges import Exchanges
from common.service import Core, Parts, Shared, create_service
from signature_connector.api import (
    callbacks,
    decisions,
    document,
    requests,
    several,
    verifications,
)
from signature_connector.assembly.isolated import IsolatedAssembler
from signature_connector.clients.revocation import responders
from signature_connector.clients.timestamps import timestamp_calls
from signature_connector.consumers import subscriptions
from signature_connector.domain.renewal import Schedule
from signature_connector.domain.waiting import Patience
from signature_connector.providers.choice import Choice
from signature_connector.providers.configured import ProviderFiles
from signature_connector.settings import Settings
from signature_connector.store.erasure import SEAL_PLACES
from signature_connector.use_cases.augmenting import Augmenting
from signature_connector.use_cases.book import Book
from signature_connector.use_cases.callbacks import LARGEST_BYTES, Callbacks
from signature_connector.use_cases.overdue import Overdue
from signature_connector.use_cases.renewing import Renewing
from signature_connector.use_cases.revocation import Revocation
from signature_connector.use_cases.steps import Steps
from signature_connector.use_cases.timestamps import Authorities
from signature_connector.use_cases.trust import TrustRefresh
from signature_connector.use_cases.validation_data import ValidationSources
from signature_connector.use_cases.verifications import Verifications
from signature_connector.use_cases.waiting import Budget
from signature_connector.use_cases.workers import Pools, Workers
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
        assembler = IsolatedAssembler(
            processes=settings.assemblers,
            seconds=settings.verification_seconds,
            memory=settings.verification_memory,
            limit=2 * settings.file_limit,
        )
        files = ProviderFiles(
            settings.providers_file,
            settings.providers_secrets,
            settings.esign_url,
            settings.esign_token,
            file_limit=settings.file_limit,
            esign_connections=settings.parallel + 1,
            call_seconds=settings.call_seconds,
            user_seconds=settings.user_seconds,
        )
        async with (
            Choice(files) as choice,
            Exchanges("signing-gateway", core.outbox, seconds=settings.usage_seconds) as exchanges,
            responders(
                seconds=settings.revocation_seconds,
                most_crl=settings.crl_limit,
                networks=settings.revocation_networks,
            ) as asking,
            timestamp_calls(settings.timestamp_seconds) as stamping,
        ):

            def observe(agency: str, failed: bool) -> None:
                (exchanges.failed if failed else exchanges.succeeded)(agency)

            waiting = Patience(
                timedelta(seconds=settings.person_seconds),
                timedelta(seconds=settings.news_seconds),
            )
            revocation = Revocation(examiner, asking)
            steps = Steps(
                choice,
                blobs,
                examiner,
                core.keys,
                file_limit=settings.file_limit,
                patience=timedelta(hours=settings.patience_hours),
                waiting=waiting,
                assembler=assembler,
                revocation=revocation,
                timestamps=Authorities(
                    stamping, examiner, settings.timestamp_urls, settings.timestamp_policy
                )
                if settings.timestamp_urls
                else None,
                revocations=ValidationSources(examiner, revocation),
                augment_after=timedelta(seconds=settings.augment_seconds),
                observe=observe,
            )
            # Each level with every authority, and what is looked up in between.
            lease = (
                60.0
                + 2 * settings.timestamp_seconds * len(settings.timestamp_urls)
                + 8 * settings.verification_seconds
            )
            augmenting = Augmenting(
                core.outbox,
                steps.finishing,
                first=timedelta(seconds=settings.augment_seconds),
                patience=timedelta(hours=settings.augment_hours),
                lease=lease,
            )
            renewing = Renewing(
                core.outbox,
                steps.finishing,
                examiner,
                core.telemetry.registry,
                schedule=Schedule(
                    timedelta(days=settings.renewal_days),
                    timedelta(seconds=settings.augment_seconds),
                ),
                lease=lease,
            )
            overdue = Overdue(core.database, core.telemetry.registry)
            workers = Workers(
                Book(core.database, core.outbox, waiting.news),
                steps,
                core.telemetry,
                Pools(
                    parallel=settings.parallel,
                    others=settings.parallel_others,
                    lease=settings.lease_seconds,
                    drain=settings.shutdown_seconds,
                    budget=Budget(settings.status_calls, settings.status_calls_each),
                ),
            )
            calls = Callbacks(
                core.database,
                choice,
                most=settings.callbacks_kept,
                days=settings.callbacks_days,
                per_second=settings.callbacks_per_second,
                asked=workers.called,
            )
            try:
                yield Parts(
                    subscriptions=subscriptions(core.keys, choice, workers.wake),
                    workers=[
                        *workers.runs,
                        augmenting.run,
                        renewing.run,
                        overdue.run,
                        calls.run,
                        exchanges.run,
                        trust.run,
                        partial(choice.watch, settings.providers_seconds),
                    ],
                    state={
                        "blobs": blobs,
                        "wake": workers.wake,
                        "callbacks": calls,
                        "steps": steps,
                        "choice": choice,
                        "seal_places": SEAL_PLACES,
                        "verifications": Verifications(
                            service_examiner, Revocation(service_examiner, asking)
                        ),
                    },
                )
            finally:
                await examiner.close()
                await service_examiner.close()
                await assembler.close()

    app = create_service(
        "signature-connector",
        settings,
        assemble,
        routers=[
            requests.router,
            several.router,
            decisions.router,
            callbacks.router,
            verifications.router,
        ],
        body_limits={
            callbacks.PATH: LARGEST_BYTES,
            verifications.PATH: settings.service_file_limit + _FORM,
        },
        time_limits={verifications.PATH: 3 * settings.verification_seconds + 30},
        shared=shared,
    )
    document.describe(app)
    return app
