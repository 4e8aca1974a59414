"""The README.md of a dataset folder: YAML that `load_dataset` reads, and what is in it for people."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

from ..schema import features

#: What a dataset is, by the title of its card.
DESCRIPTIONS = {
    "candidates": "Sampled responses with their outcome rewards, one row each.",
    "trees": "Preference trees, one row per prompt: the steps of its responses, merged by similarity, "
    "with values back-propagated from the outcome rewards.",
    "pairs": "Process and outcome preference pairs in the unified format [Q, C, Pc, Pr]: question, context, "
    "chosen, rejected.",
    "labels": "Responses with labels of their steps: whether a step and all before it are right, or how answers end "
    "from there.",
    "scores": "Responses scored step by step by a process reward model.",
    "rewards": "What a reward model gave to the responses of a benchmark, step by step.",
    "prompts": "Instructions with their golden answers.",
    "answers": "Answers searched with a process reward model, one row per prompt, with what each search cost.",
}


@dataclass(frozen=True)
class SplitFiles:
    """The Parquet files of one split: a pattern below the folder (or several, in order), how many rows and bytes."""

    pattern: str | list[str]
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
    facts = [(name.replace("_", " "), value) for name, value in counts.items() if isinstance(value, (int, float, str))]
    body = render(
        "folder.md.j2", title=title, description=DESCRIPTIONS[title], splits=listed_splits(configs), facts=facts
    )
    (folder / "README.md").write_text(dataset_header(record, configs, tags=["openprm"]) + body, "utf-8")


def dataset_header(record: type, configs: Mapping[str, Mapping[str, SplitFiles]], **fields: Any) -> str:
    """The YAML header of a dataset's card, between its lines of `---`: `fields`, `configs` and `dataset_info`.

    The first of several configs is the default.
    """
    infos = [_info(name, record, splits) for name, splits in configs.items()]
    return header(
        **fields,
        configs=[
            {
                "config_name": name,
                "data_files": [{"split": split, "path": files.pattern} for split, files in splits.items()],
                **({"default": True} if index == 0 and len(configs) > 1 else {}),
            }
            for index, (name, splits) in enumerate(configs.items())
        ],
        dataset_info=infos if len(infos) > 1 else infos[0],
    )


def header(**fields: Any) -> str:
    """The YAML header of a card, without the fields that are None."""
    from huggingface_hub import CardData

    return f"---\n{CardData(**fields).to_yaml()}\n---\n\n"


def listed_splits(configs: Mapping[str, Mapping[str, SplitFiles]]) -> list[tuple[str, str, int]]:
    """Config, split and rows of each split of each config."""
    return [(config, split, files.rows) for config, parts in configs.items() for split, files in parts.items()]


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
    """A card template, filled; raises jinja2.UndefinedError where a field has no value.

    A template may include others. Filters of ours: `shown` (as people read it), `literal` (text as
    JSON and Python have it) and `python` (any value as Python has it).
    """
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    environment = Environment(
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=FunctionLoader(lambda name: files("openprm.cards").joinpath(name).read_text("utf-8")),
    )
    environment.filters |= {"shown": shown, "literal": literal, "python": repr}
    return environment.get_template(template).render(version=version("openprm"), **values)


def shown(value: Any) -> str:
    """A value as a cell of a table: numbers with thousands or four digits, a text as code, lists joined."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, str):
        # a bar would end the cell, even in code
        escaped = value.replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")
        return "`" + escaped.replace("|", "\\|") + "`"
    return ", ".join(map(shown, value))


def literal(value: Any) -> str:
    """Texts, and lists and dictionaries of them, as a line of Python."""
    return json.dumps(value, ensure_ascii=False)
