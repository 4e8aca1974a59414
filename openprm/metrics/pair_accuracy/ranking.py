"""Stands for `openprm.ranking`, which is published in its place (see `openprm.metrics`)."""

from openprm.ranking import pair_accuracy as pair_accuracy
