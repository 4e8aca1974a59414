"""Stands for `openprm.ranking`, which is published in its place (see `openprm.metrics`)."""

from openprm.ranking import first_error as first_error
from openprm.ranking import first_error_f1 as first_error_f1
