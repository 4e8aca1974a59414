"""Preference trees: similarity of steps, merging, back-propagated values, pairs."""
