"""Commands that measure: scaling."""
