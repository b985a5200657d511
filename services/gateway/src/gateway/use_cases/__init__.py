"""What the gateway does, one module a verb."""
