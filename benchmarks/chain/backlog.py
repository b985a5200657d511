"""A backlog: the portal is away while dossiers are taken in, and then comes back."""

import asyncio
import time
from typing import Any

import httpx

from backbone.demo import play
from benchmarks.chain.ours import Place
from benchmarks.chain.rounds import Chain, hand_in, shares
from benchmarks.chain.usage import memory

_MIB = 2**20
_AWAY: dict[str, object] = {"program": "national-portal", "kind": "status", "on": "*"}
_SLICE_SECONDS = 5
_PATIENCE_SECONDS = 180.0
"""Until the first call after the portal is back: a breaker may be open for a minute."""


async def backlog(
    chain: Chain, where: Place, count: int, connections: int, steady: float
) -> dict[str, Any]:
    """Take so many in while the portal is away, let it come back, and measure until they are there.

    Args:
        steady: dossiers a second, from end to end, without a backlog. A quarter of it is handed in
            before, for comparison, and while the backlog drains.

    Raises:
        RuntimeError: nothing is delivered although the portal is back.
    """
    quarter = steady / 4
    calm = await hand_in(chain, int(quarter * _SLICE_SECONDS * 4), connections, quarter)
    await chain.at_rest()
    before, _ = await chain.portal.known()
    await play.set_faults(where.outside, [_AWAY])
    await hand_in(chain, count, connections)
    held = memory(chain.watched)
    async with httpx.AsyncClient(trust_env=False) as http:
        (await http.delete(f"{where.outside.national_portal}/_faults")).raise_for_status()
    await where.slow_portal()
    first = await _first(chain, before)
    meanwhile: list[float] = []
    while (now := await chain.portal.known())[0] < before + count:
        size = int(quarter * _SLICE_SECONDS)
        meanwhile += await hand_in(chain, size, connections, quarter)
    return {
        "count": count,
        "steady": steady,
        "drain": (now[0] - before) / (now[1] - first),
        "calm": shares(calm),
        "meanwhile": shares(meanwhile or calm),
        "memory": {role: one.resident / _MIB for role, one in held.items()},
    }


async def _first(chain: Chain, before: int) -> float:
    begun = time.monotonic()
    while time.monotonic() < begun + _PATIENCE_SECONDS:
        known, last = await chain.portal.known()
        if known > before:
            return last
        await asyncio.sleep(0.05)
    raise RuntimeError("nothing is delivered although the portal is back")
