"""What is done with dossiers."""
