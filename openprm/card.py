"""The README.md of a dataset folder: YAML that `load_dataset` reads, and what is in it for people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
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


@dataclass(frozen=True)
class SplitFiles:
    """The Parquet files of one split: a pattern below the folder, how many rows, how many bytes."""

    pattern: str
    rows: int
    size: int


def write_card(
    folder: Path,
    record: type,
    title: str,
    configs: Mapping[str, Mapping[str, SplitFiles]],
    counts: Mapping[str, Any],
) -> None:
    """Writes `README.md`: `configs` (splits by name, by config) and `dataset_info` as YAML, then words for people.

    `counts` are a stage's; those that are plain numbers are shown.
    """
    from huggingface_hub import DatasetCardData

    infos = [_info(name, record, splits) for name, splits in configs.items()]
    data = DatasetCardData(
        configs=[
            {
                "config_name": name,
                "data_files": [{"split": split, "path": files.pattern} for split, files in splits.items()],
                **({"default": True} if index == 0 and len(configs) > 1 else {}),
            }
            for index, (name, splits) in enumerate(configs.items())
        ],
        dataset_info=infos if len(infos) > 1 else infos[0],
        tags=["openprm"],
    )
    facts = [(name.replace("_", " "), value) for name, value in counts.items() if isinstance(value, (int, float, str))]
    splits = [(config, split, files.rows) for config, parts in configs.items() for split, files in parts.items()]
    body = render("dataset.md.j2", title=title, description=_DESCRIPTIONS[title], splits=splits, facts=facts)
    (folder / "README.md").write_text(f"---\n{data.to_yaml()}\n---\n\n{body}", "utf-8")


def _info(name: str, record: type, files: Mapping[str, SplitFiles]) -> dict[str, Any]:
    from datasets import DatasetInfo, SplitDict, SplitInfo

    splits = SplitDict()
    for split, part in files.items():
        splits.add(SplitInfo(name=split, num_bytes=part.size, num_examples=part.rows))
    size = sum(part.size for part in files.values())
    info = DatasetInfo(
        features=features(record), splits=splits, download_size=size, dataset_size=size, config_name=name
    )
    return info._to_yaml_dict()


def render(template: str, **values: Any) -> str:
    """A card template, filled; raises jinja2.UndefinedError where a field has no value."""
    from jinja2 import Environment, StrictUndefined

    source = files("openprm.cards").joinpath(template).read_text("utf-8")
    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True)
    return environment.from_string(source).render(version=version("openprm"), **values)
