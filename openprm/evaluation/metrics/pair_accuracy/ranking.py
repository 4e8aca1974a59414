"""Stands for `openprm.evaluation.pair_accuracy`, which is published in its place (see
`openprm.evaluation.metrics`)."""

from openprm.evaluation.pair_accuracy import pair_accuracy as pair_accuracy
