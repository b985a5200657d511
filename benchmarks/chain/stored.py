"""What a dossier costs when many are stored already.

They get there as any others, through the whole chain: whatever a faster way would leave out (the
message log's seals, histories, places in queues, dead rows) would be missing from the price.
"""

from benchmarks.chain.rounds import Chain, arrived, hand_in

_AT_ONCE = 20_000


async def fill(chain: Chain, count: int, connections: int) -> None:
    """Let so many more go through the chain."""
    for begin in range(0, count, _AT_ONCE):
        before, _ = await chain.portal.known()
        size = min(_AT_ONCE, count - begin)
        await hand_in(chain, size, connections)
        await arrived(chain, before + size)
    await chain.at_rest()
