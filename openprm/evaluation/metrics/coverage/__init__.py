"""The metric coverage (see `openprm.evaluation.metrics`)."""
