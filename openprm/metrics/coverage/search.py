"""Stands for `openprm.search`, which is published in its place (see `openprm.metrics`)."""

from openprm.search import coverage as coverage
