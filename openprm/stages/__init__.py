"""The stages of a run, one module for each command; importing this package declares them all."""

from . import choices as choices
from . import constraints as constraints
from . import convert as convert
from . import evaluate as evaluate
from . import import_candidates as import_candidates
from . import judge_steps as judge_steps
from . import label as label
from . import label_pairs as label_pairs
from . import pairs as pairs
from . import prompts as prompts
from . import reward as reward
from . import rollouts as rollouts
from . import sample as sample
from . import score as score
from . import search as search
from . import split as split
from . import train as train
from . import trees as trees
