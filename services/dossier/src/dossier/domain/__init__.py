"""The rules of a dossier's life: pure functions of states and commands."""
