"""Stands for `openprm.search`, which is published in its place (see `openprm.metrics`)."""

from openprm.search import coverage as coverage
from openprm.search import expected_best_of_n as expected_best_of_n
