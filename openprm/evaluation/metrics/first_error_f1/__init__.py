"""The metric first_error_f1 (see `openprm.evaluation.metrics`)."""
