"""What the backbone itself says is in doubt: sent again after a call that had no answer.

A partner that cannot be asked about an item may hold it twice. The comparison excuses a doubled
item only where the services flagged it.
"""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import httpx

from backbone.demo.client import ClientSystem
from common.http import http_client


@dataclass
class Flags:
    """Items that were flagged as maybe doubled.

    Attributes:
        steps: how many steps at the national portal, by dossier code.
        records: natural keys of records at the monitoring endpoint.
    """

    steps: dict[str, int] = field(default_factory=dict)
    records: set[str] = field(default_factory=set)


AskFlags = Callable[[Iterable[str]], Awaitable[Flags]]
"""Takes the dossiers in question."""


def operators_side(operator: ClientSystem, portal_sync: str, exporter: str) -> AskFlags:
    """Ask the two services that call partners which cannot be asked afterwards.

    Args:
        operator: who may see every agency's.
        portal_sync: base URL of national-portal-sync.
        exporter: base URL of metrics-exporter.
    """

    async def ask(codes: Iterable[str]) -> Flags:
        found = Flags()
        async with http_client(timeout=30.0) as http:
            headers = await operator.authorization(http)
            for code in codes:
                dossier = await _get(http, f"{portal_sync}/v1/sync/{code}", headers)
                found.steps[code] = len(dossier["maybe_doubled_steps"])
            after: str | None = ""
            while after is not None:
                url = f"{exporter}/v1/measurements/maybe-doubled"
                page = await _get(http, f"{url}?after={after}", headers)
                found.records |= {item["record"] for item in page["items"]}
                after = page["next"]
        return found

    return ask


async def _get(http: httpx.AsyncClient, url: str, headers: dict[str, str]) -> dict[str, Any]:
    answer = await http.get(url, headers=headers)
    answer.raise_for_status()
    return dict(answer.json())
