"""How events travel: one protocol, an adapter for the broker and one for a single process."""
