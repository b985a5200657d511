"""Exports of the message log, judged offline: nothing but the export and trusted certificates."""
