"""The metric majority_vote (see `openprm.evaluation.metrics`)."""
