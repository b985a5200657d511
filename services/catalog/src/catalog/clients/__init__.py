"""Outside systems, their wire formats converted at the edge."""
