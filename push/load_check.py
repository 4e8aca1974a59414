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
    root = Path(owner)
    for name in ("candidates", "trees", "pairs"):
        path = str(root / name)
        for config in get_dataset_config_names(path) if Path(path).exists() else ():
            sizes = {split: rows.num_rows for split, rows in load_dataset(path, config).items()}
            print(f"load_dataset({path!r}, {config!r}): {sizes}")
    for config in sorted(root.glob("*/config.json")):
        _model(str(config.parent), json.loads(config.read_text("utf-8")), _example(root / "candidates"))


def _model(path: str, config: dict[str, Any], example: Any) -> None:
    if "custom_pipelines" not in config:
        transformers.AutoModelForCausalLM.from_pretrained(path)
        print(f"AutoModelForCausalLM.from_pretrained({path!r})")
        return
    transformers.AutoModelForSequenceClassification.from_pretrained(path)
    make: Any = transformers.pipeline  # its types know only the tasks that transformers brings along
    scorer = make("openprm-scoring", model=path, trust_remote_code=True)
    print(f"pipeline('openprm-scoring', model={path!r}): {scorer(example)}")


def _example(candidates: Path) -> Any:
    if candidates.exists():
        return next(iter(load_dataset(str(candidates), split="train", streaming=True)))
    return {"question": "What is 2 + 3?", "response": "Two and three make five.\nSo: 5"}


if __name__ == "__main__":
    main(sys.argv[1])
