"""Checks of what was published."""
