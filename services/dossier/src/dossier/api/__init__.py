"""Routes, by noun."""

from dossier.api import deadlines, dossiers, imports, personal

ROUTERS = (deadlines.router, deadlines.operators, dossiers.router, imports.router, personal.router)
