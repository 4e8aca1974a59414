"""Load what was published, as a stranger would: `python check.py OWNER`, in the folder that holds the owner's.

Imports nothing of openprm. Prints each dataset's size and what the scoring pipeline says of the first candidate;
exits with an error where something does not load.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import transformers
from datasets import get_dataset_config_names, load_dataset


def main(owner: str) -> None:
    root = Path(owner)
    for name in ("candidates", "trees", "pairs"):
        path = str(root / name)
        for config in get_dataset_config_names(path):
            sizes = {split: rows.num_rows for split, rows in load_dataset(path, config).items()}
            print(f"load_dataset({path!r}, {config!r}): {sizes}")
    make: Any = transformers.pipeline  # its types know only the tasks that transformers brings along
    candidate = load_dataset(str(root / "candidates"), split="train")[0]
    for config in sorted(root.glob("*/config.json")):
        path = str(config.parent)
        transformers.AutoModelForSequenceClassification.from_pretrained(path)
        scorer = make("openprm-scoring", model=path, trust_remote_code=True)
        print(f"pipeline('openprm-scoring', model={path!r}): {scorer(candidate)}")


if __name__ == "__main__":
    main(sys.argv[1])
