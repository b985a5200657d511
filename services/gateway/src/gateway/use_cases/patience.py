"""Waiting for a group's commit as long as a client can be expected to."""

import asyncio
from typing import TypeVar

from common.batching import GroupCommit, Overloaded
from common.database import database_is_away
from common.errors import NotReady
from gateway.errors import Busy

_SECONDS = 10.0

Entry = TypeVar("Entry")
Answer = TypeVar("Answer")


async def committed(group: GroupCommit[Entry, Answer], entry: Entry) -> Answer:
    """The group's answer to an entry, committed.

    Raises:
        Busy: too many wait.
        NotReady: the database cannot be used now. What happened is unknown; asking again is safe.
    """
    try:
        async with asyncio.timeout(_SECONDS):
            return await group.add(entry)
    except Overloaded as error:
        raise Busy(headers={"Retry-After": "1"}) from error
    except Exception as error:
        if isinstance(error, TimeoutError) or database_is_away(error):
            raise not_now() from error
        raise


def not_now() -> NotReady:
    """Nothing is known to have been written."""
    return NotReady(
        "Chưa ghi nhận được yêu cầu, hãy gửi lại nguyên vẹn",
        "The request could not be recorded now; send it again unchanged",
        headers={"Retry-After": "2"},
    )
