"""The catalogue, put together."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from fastapi import FastAPI

from catalog import store
from catalog.api import router
from catalog.settings import Settings
from catalog.use_cases import keep_loaded
from common.service import Core, Parts, Shared, create_service


def create_app(settings: Settings, shared: Shared = Shared()) -> FastAPI:  # noqa: B008 - frozen
    """The service's application."""

    @asynccontextmanager
    async def assemble(core: Core) -> AsyncIterator[Parts]:
        yield Parts(
            workers=(partial(keep_loaded, core.outbox, core.database),),
            checks={"catalogue": partial(store.check_loaded, core.database)},
        )

    return create_service("catalog", settings, assemble, routers=(router,), shared=shared)
