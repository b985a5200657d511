"""What the service does: take requests in, bring each on step by step, write every step."""
