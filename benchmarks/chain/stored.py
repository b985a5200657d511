"""What a dossier costs when many are stored already.

They get there as any others, through the whole chain: whatever a faster way would leave out (the
message log's seals, histories, places in queues, dead rows) would be missing from the price. Of
more than can be waited for, the rest are copies of these in the databases.
"""

from benchmarks.chain.copies import copied
from benchmarks.chain.rounds import Chain, arrived, hand_in

_AT_ONCE = 20_000
THROUGH = 100_000
"""As many come through the chain."""


async def fill(chain: Chain, count: int, connections: int) -> None:
    """See to it that so many dossiers are stored, or a few more."""
    there, _ = await chain.portal.known()
    for begin in range(there, min(count, THROUGH), _AT_ONCE):
        before, _ = await chain.portal.known()
        size = min(_AT_ONCE, count - begin)
        await hand_in(chain, size, connections)
        await arrived(chain, before + size)
    await chain.at_rest()
    there, _ = await chain.portal.known()
    if count > THROUGH:
        copies = round(count / there) - 1
        await copied(chain.stack.postgres.dsn, chain.databases, there, copies)
