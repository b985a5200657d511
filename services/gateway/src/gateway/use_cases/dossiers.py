"""Reading a dossier whose submission may not have reached the dossier service yet."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from uuid import UUID

from common.auth import Principal
from common.database import Database
from common.errors import Upstream
from gateway.clients import Answer, Behind
from gateway.domain.submissions import Submission
from gateway.errors import UpstreamAway
from gateway.store import submissions

MOST_PENDING = 100
"""Submissions that are shown with a dossier; more of them are listed at ``/v1/submissions``."""

_START = UUID(int=0)


@dataclass(frozen=True, slots=True)
class Dossiers:
    """Dossiers as their service tells them, or as pending.

    Attributes:
        service: the dossier service.
        database: the gateway's own.
    """

    service: Behind
    database: Database

    async def pending(self, principal: Principal, code: str) -> list[Submission]:
        """What this client has sent for a dossier and is not decided yet, oldest first.

        To be asked for before the dossier itself: what is decided in between is then shown twice
        rather than nowhere.
        """
        async with self.database.reading() as connection:
            return await submissions.page(
                connection, principal, "pending", _START, MOST_PENDING, code
            )

    async def read(
        self,
        principal: Principal,
        code: str,
        path: str,
        headers: Mapping[str, str],
        query: Mapping[str, str | int] = MappingProxyType({}),
    ) -> Answer | Submission:
        """The dossier service's answer, or the submission that it does not know of yet.

        Raises:
            UpstreamAway, Upstream: it cannot answer, and no submission is pending here either.
        """
        try:
            answer = await self.service.get(path, query, headers)
        except (UpstreamAway, Upstream):
            live = await self._live(principal, code)
            if live is not None and live.state == "pending":
                return live
            raise
        if answer.status != 404:
            return answer
        live = await self._live(principal, code)
        if live is None:
            return answer
        if live.state == "pending":
            return live
        # Applied since we asked.
        return await self.service.get(path, query, headers)

    async def _live(self, principal: Principal, code: str) -> Submission | None:
        async with self.database.reading() as connection:
            found = await submissions.live_submit(connection, code)
        if found is None or not principal.may_act_for(found.agency):
            return None
        return found if principal.may_handle(found.procedure) else None
