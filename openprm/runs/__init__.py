"""Folders with a manifest: shards, resume, progress, provenance."""
