"""What the catalogue is about, and its rules."""
