"""Durable calls to partners: a row for each item until the partner is known to have it.

A use case queues items in its own transaction; workers claim them in batches, call the partner
outside of any transaction and settle the outcome. What became of a call whose answer never came,
or whose worker died in the middle, is *unknown*: it is asked about where the partner can be
asked, and otherwise sent again under the same key and marked as maybe doubled.

Items of one subject (a dossier) go out in the order in which they were queued. Agencies take
turns, so that one agency's backlog does not hold up another's, and what is on the bulk lane goes
behind what is live. Where a partner is reached over several lines (accounts), each has a breaker
and limits of its own. An open breaker or a partner that asks for patience stops the claiming and
costs no attempt.
"""

from common.delivery.breaker import Breaker
from common.delivery.deliverer import Deliverer
from common.delivery.line import Line, Lines
from common.delivery.pace import Pace
from common.delivery.partner import (
    LANES,
    Ability,
    Claimed,
    Item,
    Outcome,
    Partner,
    Prepare,
    Result,
)
from common.delivery.rows import queue

__all__ = [
    "LANES",
    "Ability",
    "Breaker",
    "Claimed",
    "Deliverer",
    "Item",
    "Line",
    "Lines",
    "Outcome",
    "Pace",
    "Partner",
    "Prepare",
    "Result",
    "queue",
]
