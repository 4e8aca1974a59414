"""The names in a layout, which become folders here and repositories and splits on the Hub."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from openprm.errors import InputError

DATASETS = ("candidates", "trees", "pairs")
DEMO = "demo"


def check_names(owner: str, models: Sequence[str], metrics: Sequence[str], demo: str | None) -> None:
    """Raises InputError for a name that the Hub does not allow, or that two repositories would have."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    for name in (*DATASETS, *models, *metrics):
        try:
            validate_repo_id(f"{owner}/{name}")
        except HFValidationError as error:
            raise InputError(f"{owner}/{name} cannot be the name of a repository: {error}; rename it") from None
        if "/" in owner or "/" in name:
            raise InputError(f"{owner}/{name} cannot be the name of a repository: that is OWNER/NAME; rename it")
    taken = [*DATASETS, *metrics, *([DEMO] if demo else [])]
    for name in models:
        if name in taken:
            raise InputError(f"a model cannot be called {name!r}: that is another repository's name; rename it")
    if demo is not None and demo not in models:
        raise InputError(f"the demo shows {demo!r}, which is none of the models ({', '.join(models) or 'none'})")


def check_splits(datasets: Mapping[str, Mapping[str, str]]) -> None:
    """Raises InputError for a split that `datasets` would not load, by the name of its dataset."""
    for name, splits in datasets.items():
        for split in splits:
            if not re.fullmatch(r"\w+(\.\w+)*", split):
                raise InputError(
                    f"{name}: no split can be called {split!r}; use letters, digits and _, such as train or test_a"
                )
