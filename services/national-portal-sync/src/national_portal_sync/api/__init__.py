"""Routes, by noun."""

from national_portal_sync.api import accounts, disclosures, questions, reconciliation, sync

ROUTERS = (
    accounts.router,
    sync.router,
    reconciliation.router,
    questions.router,
    disclosures.router,
)
