"""Engines that generate: `hf` (transformers)."""
