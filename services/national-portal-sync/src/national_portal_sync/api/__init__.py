"""Routes, by noun."""

from national_portal_sync.api import accounts, disclosures, questions, reconciliation, sync

# ``/v1/sync/{code}`` of sync takes what no router before it does.
ROUTERS = (
    accounts.router,
    disclosures.router,
    sync.router,
    reconciliation.router,
    questions.router,
)
