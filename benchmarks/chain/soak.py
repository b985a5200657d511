"""Memory of every process over minutes of even load."""

from typing import Any

from benchmarks.chain.rounds import Chain, arrived, hand_in
from benchmarks.chain.usage import memory

_MIB = 2**20


async def soak(chain: Chain, minutes: int, rate: float, connections: int) -> dict[str, Any]:
    """Hand dossiers in at a rate; what each role holds (MiB, RSS) after each minute."""
    held: dict[str, list[float]] = {role: [] for role in chain.watched}
    for _ in range(minutes):
        before, _ = await chain.portal.known()
        count = int(rate * 60)
        await hand_in(chain, count, connections, rate)
        await arrived(chain, before + count)
        for role, one in memory(chain.watched).items():
            held[role].append(one.resident / _MIB)
    return {"minutes": minutes, "rate": rate, "roles": held}
