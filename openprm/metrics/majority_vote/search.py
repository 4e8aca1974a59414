"""Stands for `openprm.search`, which is published in its place (see `openprm.metrics`)."""

from openprm.search import expected_vote as expected_vote
