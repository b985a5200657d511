"""REST: ask for signatures, see what became of them, decide about what is held."""
