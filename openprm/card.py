"""The README.md of a dataset folder: YAML that `load_dataset` reads, and what is in it for people."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

from .records import features

_DESCRIPTIONS = {
    "candidates": "Sampled responses with their outcome rewards, one row each.",
    "trees": "Preference trees, one row per prompt: the steps of its responses, merged by similarity, "
    "with values back-propagated from the outcome rewards.",
    "pairs": "Process and outcome preference pairs in the unified format [Q, C, Pc, Pr]: question, context, "
    "chosen, rejected.",
    "scores": "Responses scored step by step by a process reward model.",
    "prompts": "Instructions with their golden answers.",
}


def write_card(folder: Path, record: type, title: str, rows: int, size: int, counts: Mapping[str, Any]) -> None:
    """Writes `README.md`: `configs` and `dataset_info` as YAML, then how to load it and what was counted."""
    from datasets import DatasetInfo, Split, SplitDict, SplitInfo
    from huggingface_hub import DatasetCardData

    splits = SplitDict()
    splits.add(SplitInfo(name=str(Split.TRAIN), num_bytes=size, num_examples=rows))
    info = DatasetInfo(features=features(record), splits=splits, download_size=size, dataset_size=size)
    data = DatasetCardData(
        configs=[{"config_name": "default", "data_files": [{"split": "train", "path": "data/train-*.parquet"}]}],
        dataset_info=info._to_yaml_dict(),
        tags=["openprm"],
    )
    facts = [(name.replace("_", " "), value) for name, value in counts.items() if isinstance(value, (int, float, str))]
    body = render("dataset.md.j2", title=title, description=_DESCRIPTIONS[title], rows=rows, facts=facts)
    (folder / "README.md").write_text(f"---\n{data.to_yaml()}\n---\n\n{body}", "utf-8")


def render(template: str, **values: Any) -> str:
    """A card template, filled; raises jinja2.UndefinedError where a field has no value."""
    from jinja2 import Environment, StrictUndefined

    source = files("openprm.cards").joinpath(template).read_text("utf-8")
    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True)
    return environment.from_string(source).render(version=version("openprm"), **values)
