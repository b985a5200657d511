"""The queues of the service."""

from functools import partial

from common.inbox import Subscription
from dossier.domain.deadlines import Deadlines
from dossier.domain.table import Table
from dossier.use_cases.indexing import Indexing
from dossier.use_cases.submissions import Demands, obey_submissions, record_signatures


def subscriptions(
    table: Table,
    deadlines: Deadlines,
    indexing: Indexing | None = None,
    demands: Demands | None = None,
) -> tuple[Subscription, ...]:
    """Submissions by dossier, and the outcomes of signatures by request.

    Args:
        demands: adds the signatures that have to be asked for; without it only those that are
            wished for are.
    """
    obey = partial(obey_submissions, table, deadlines, indexing=indexing, demands=demands)
    return (
        Subscription("submissions", ("submission.received.v1",), obey),
        Subscription("signatures", ("signature.#",), record_signatures),
    )
