"""Stands for `openprm.search.selection`, which is published in its place (see `openprm.evaluation.metrics`)."""

from openprm.search.selection import coverage as coverage
