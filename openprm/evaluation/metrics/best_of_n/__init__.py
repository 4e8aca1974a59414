"""The metric best_of_n (see `openprm.evaluation.metrics`)."""
