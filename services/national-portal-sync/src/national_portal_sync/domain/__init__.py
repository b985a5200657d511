"""What is told to the portal, and the rules of it."""
