"""Benchmarks of reward models, declared one by one; importing this package declares their kinds."""

from . import choice as choice
from . import first_error as first_error
from . import labelled_steps as labelled_steps
from . import pairs as pairs
from . import states as states
from . import values as values
