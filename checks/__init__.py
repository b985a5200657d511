"""`make check` and `make test`: every gate of the repository, and the account of those not run."""
