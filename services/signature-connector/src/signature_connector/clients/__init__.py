"""Clients of others than signing providers."""
