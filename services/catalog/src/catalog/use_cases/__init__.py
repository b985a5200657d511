"""What is done with the catalogue."""
