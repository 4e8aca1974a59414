"""Load what was published, as a user would: `python load_check.py OWNER`, in the folder that holds the owner's.

Imports nothing of openprm. Prints each dataset's size and what the scoring pipeline says of the first candidate;
exits with an error where something does not load.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import transformers
from datasets import get_dataset_config_names, load_dataset


def main(owner: str) -> None:
    example: Any = {"question": "What is 2 + 3?", "response": "Two and three make five.\nSo: 5"}
    for manifest in sorted(Path(owner).glob("*/manifest.json")):
        path, said = str(manifest.parent), json.loads(manifest.read_text("utf-8"))
        for config in get_dataset_config_names(path) if "configs" in said else ():
            splits = load_dataset(path, config)
            sizes = {split: rows.num_rows for split, rows in splits.items()}
            print(f"load_dataset({path!r}, {config!r}): {sizes}")
            if said["kind"] == "candidates":
                example = next(iter(splits.values()))[0]
    for config in sorted(Path(owner).glob("*/config.json")):
        path = str(config.parent)
        if "custom_pipelines" in json.loads(config.read_text("utf-8")):
            transformers.AutoModelForSequenceClassification.from_pretrained(path)
            make: Any = transformers.pipeline  # its types know only the tasks that transformers brings along
            scorer = make("openprm-scoring", model=path, trust_remote_code=True)
            print(f"pipeline('openprm-scoring', model={path!r}): {scorer(example)}")
        else:
            transformers.AutoModelForCausalLM.from_pretrained(path)
            print(f"AutoModelForCausalLM.from_pretrained({path!r})")


if __name__ == "__main__":
    main(sys.argv[1])
