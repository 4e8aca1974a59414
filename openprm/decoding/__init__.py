"""Choosing among answers, and searching for them with a reward model."""
