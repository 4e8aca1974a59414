"""The metric pair_accuracy (see `openprm.metrics`)."""
