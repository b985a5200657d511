"""Plumbing that the services share and that knows no noun of the field."""
