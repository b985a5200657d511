"""What is done with the portal."""
