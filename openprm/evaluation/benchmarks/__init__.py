"""Benchmarks of reward models, declared one by one; importing this package declares their kinds."""

from . import choice as choice
from . import pairs as pairs
