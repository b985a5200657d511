"""The REST side."""

from gateway.api import files, intake, oauth, proxied, submissions

# Intake first: it is by far the most frequent, and routes are tried in this order.
ROUTERS = (intake.router, submissions.router, oauth.router, files.router, proxied.router)
