"""Adapters of signing providers, one module for each dialect."""
