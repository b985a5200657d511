"""What our services need while nobody wants anything."""

import asyncio
import time
from typing import Any

from benchmarks.chain.ours import services
from benchmarks.chain.rounds import Chain
from benchmarks.chain.usage import memory
from benchmarks.peers.clients import cpu_of

_MIB = 2**20


async def idle(chain: Chain, seconds: float) -> dict[str, Any]:
    """Share of one core and memory (MiB) of each service and server, and the services' sum."""
    own = services(chain.stack)
    before = {role: cpu_of(pids) for role, pids in chain.watched.items()}
    begun = time.monotonic()
    await asyncio.sleep(seconds)
    lasted = time.monotonic() - begun
    held = memory(chain.watched)
    shares = {role: (cpu_of(pids) - before[role]) / lasted for role, pids in chain.watched.items()}
    return {
        "seconds": seconds,
        "services_share": sum(shares[role] for role in own),
        "roles": {
            role: {
                "share": shares[role],
                "resident": held[role].resident / _MIB,
                "private": held[role].private / _MIB,
            }
            for role in chain.watched
        },
    }
