"""Rows of users' files and of the Hub, as candidates, prompts and preferences."""
