"""Published repositories: reading them, and finding what they were made from."""
