"""Reward models as plain checkpoints, and converters to them."""
