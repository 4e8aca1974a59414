"""The metric coverage (see `openprm.metrics`)."""
