"""The REST side."""

from gateway.api import (
    catalogue,
    channels,
    exchange,
    files,
    intake,
    oauth,
    personal,
    proxied,
    questions,
    submissions,
)

# Intake first: it is by far the most frequent, and routes are tried in this order.
ROUTERS = (
    intake.router,
    submissions.router,
    oauth.router,
    files.router,
    personal.router,
    proxied.router,
    catalogue.router,
    channels.router,
    exchange.router,
    questions.router,
)
