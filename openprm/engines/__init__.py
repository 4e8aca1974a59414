"""Engines that generate responses and compute rewards. See `base` for the interface."""
