"""The demonstration: dossiers play their lives, and at the end everybody's books are compared."""
