"""All services in one process, the demonstration, and the operators' command line."""
