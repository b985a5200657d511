"""Routes, by noun."""

from catalog.api import catalogue, changes, channels, conformance, imports

ROUTERS = (catalogue.router, changes.router, channels.router, conformance.router, imports.router)
