"""The metric best_of_n (see `openprm.metrics`)."""
