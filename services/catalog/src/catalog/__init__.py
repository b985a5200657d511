"""The catalogue: procedures, agencies, fields and code lists, served and told to the others."""
