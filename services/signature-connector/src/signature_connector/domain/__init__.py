"""Requests and their states, what providers answer, what can be found, what is kept of it all."""
