"""Stands for `openprm.evaluation.pair_accuracy`, which is published in its place (see
`openprm.evaluation.metrics`)."""

from openprm.evaluation.pair_accuracy import first_error as first_error
from openprm.evaluation.pair_accuracy import first_error_f1 as first_error_f1
