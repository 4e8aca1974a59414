"""The metric pair_accuracy (see `openprm.evaluation.metrics`)."""
