"""Commands that search: generate."""
