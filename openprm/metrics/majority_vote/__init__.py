"""The metric majority_vote (see `openprm.metrics`)."""
