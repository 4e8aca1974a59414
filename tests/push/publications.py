"""Publication manifests for tests of what is made from them."""

from __future__ import annotations

import copy
from typing import Any

VERSIONS = {"python": "3.11.7", "openprm": "0.1.0", "torch": "2.13.0+cpu"}
ORIGINS = [
    {
        "name": "scienceqa",
        "kind": "data",
        "hub": "derek-thomas/ScienceQA",
        "revision": "f18b0a70359ebfb41f658fd564208d0355b013f4",
        "split": "train",
        "license": "CC-BY-NC-SA-4.0",
        "homepage": "https://scienceqa.github.io",
        "citation": "Lu et al., 2022. Learn to Explain. arXiv:2209.09513",
    },
    {"name": "base", "kind": "model", "hub": "somebody/base-7B", "license": "llama3.1"},
]


def stage(name: str, parameters: dict[str, Any], counts: dict[str, Any], rows: int, **inputs: str) -> dict[str, Any]:
    return {
        "stage": name,
        "schema_version": 1,
        "parameters": parameters,
        "inputs": {role: {"name": name, "hash": "0" * 64} for role, name in inputs.items()},
        "versions": VERSIONS,
        "rows": rows,
        "row_hash": "1234567890" * 6 + "1234",
        "counts": counts,
    }


CANDIDATES = {"by": "answer", "name": "golden", "reward": {"rule": "golden answer", "pattern": "answer"}}
TREES = {
    "separator": ".\n",
    "separators": {"math": "line"},
    "similarity": "levenshtein",
    "threshold": 0.88,
    "distinct_numbers": True,
    "distinct_answers": False,
}
PAIRS = {
    "select": "all",
    "min_support": 1,
    "shared_prefix": False,
    "process": True,
    "outcome": "best",
    "min_gap": "0.5sd",
}
TRAINING = {
    "levels": ["process", "outcome"],
    "separator": ".\n",
    "learning_rate": 2e-06,
    "epochs": 1.0,
    "batch_size": 64,
    "bf16": False,
    "seed": 3,
}


def metric(method: str, accuracy: float) -> dict[str, Any]:
    return {
        "method": method,
        "accuracy": accuracy,
        "low": accuracy - 0.041237,
        "high": accuracy + 0.041237,
        "n_prompts": 317,
        "difference": accuracy - 0.551041,
        "difference_low": accuracy - 0.621,
        "difference_high": accuracy - 0.487,
    }


def evaluation() -> dict[str, Any]:
    return {
        **stage("evaluation", {"seed": 0}, {"prompts": 317, "candidates": 16}, 0, candidates="candidates-test"),
        "dataset": {"repository": "somebody/candidates", "part": "test"},
        "kinds": {"prm": {"models": ["prm"], "aggregation": "min"}},
        "metrics": [
            metric("single sample", 0.551041),
            metric("best of 16: prm/min", 0.868578),
            metric("weighted vote@16: prm/min", 0.98333),
            metric("coverage@16", 0.996667),
        ],
    }


def published(kind: str, parts: dict[str, Any]) -> dict[str, Any]:
    """Where the inputs of all parts are published: all but the samples that candidates are made of."""
    if kind == "model":
        pairs = {"repository": "somebody/pairs", "part": "train"}
        return {"model": {"pairs": pairs, "base": {"repository": "somebody/base-7B", "part": "model"}}}
    if kind == "labels":
        return {part: {"labels": {"repository": "somebody/trees", "part": part}} for part in parts}
    before = {"trees": "candidates", "pairs": "trees"}.get(kind)
    return {part: {before: {"repository": f"somebody/{before}", "part": part}} if before else {} for part in parts}


def publication(kind: str, **changed: Any) -> dict[str, Any]:
    """Of a small run that never was."""
    splits: dict[str, dict[str, Any]] = {
        "candidates": {
            split: stage(
                "reward", CANDIDATES, {"mean_reward": 0.5448, "marks": {"truncated": 4}}, rows, candidates="x"
            )
            for split, rows in (("train", 32_000), ("test", 4_800))
        },
        "trees": {
            split: stage(
                "trees", TREES, {"nodes": 4_645, "merged_share_by_depth": {"1": 0.8873}}, rows, candidates="c"
            )
            for split, rows in (("train", 2_000), ("test", 300))
        },
        "labels": {
            split: stage("label", {"by": "tree", "cut": False}, {"labels": rows, "kind": "value"}, rows, labels="t")
            for split, rows in (("train", 32_000), ("test", 4_800))
        },
        "pairs": {
            split: stage("pairs", PAIRS, {"levels": {"process": rows - 9, "outcome": 9}}, rows, trees="t")
            for split, rows in (("train", 7_094), ("test", 1_070))
        },
        "model": {
            "model": {
                **stage("train", TRAINING, {"levels": {"process": 5_214}}, 0, pairs="pairs", base="base"),
                "metrics": {"eval_accuracy": 0.8261682},
            }
        },
        "policy": {"model": stage("policy", {"steps": 400}, {"parameters": 163_904}, 0)},
        "demo": {},
    }
    made = {
        "published_by": "openprm 0.1.0",
        "repository": f"somebody/{NAMES.get(kind, kind)}",
        "kind": kind,
        **dict.fromkeys(("title", "description", "base_model")),
        "license": "cc-by-nc-sa-4.0",
        "origins": ORIGINS,
        "parts": splits[kind],
        "repositories": published(kind, changed.get("parts", splits[kind])),
        "files": {"data/train-00000.parquet": "987654321" * 7 + "0"},
    }
    if kind in ("candidates", "trees", "labels", "pairs"):
        made["configs"] = configs(kind, splits[kind])
        made["prompts"] = {"train": {"scienceqa": 2_000, "math": 500}, "test": {"scienceqa": 300}}
        made["example"] = {"question": [{"role": "user", "content": EXAMPLE["question"]}]}
    if kind == "model":
        made |= {"evaluation": evaluation(), "example": EXAMPLE, "scoring": SCORING}
    if kind == "demo":
        made["demo"] = {"model": "somebody/prm", "gradio": "6.31.0"}
    return copy.deepcopy({**made, **changed})


def configs(kind: str, parts: dict[str, Any]) -> dict[str, dict[str, Any]]:
    if kind != "pairs":
        return {"default": {s: _files(f"data/{s}-*.parquet", part["rows"]) for s, part in parts.items()}}
    found = {"all": {s: _files(f"*/{s}-*.parquet", part["rows"]) for s, part in parts.items()}}
    for level in ("process", "outcome"):
        found[level] = {
            s: _files(f"{level}/{s}-*.parquet", part["counts"]["levels"][level]) for s, part in parts.items()
        }
    return found


def _files(pattern: str, rows: int) -> dict[str, Any]:
    return {"pattern": pattern, "rows": rows, "size": 12_345}


NAMES = {"model": "prm", "policy": "base"}
EXAMPLE = {"question": "What is 2 + 3?", "response": 'Two "and" three.\nSo: 5'}
SCORING = {"separator": ".\n", "aggregation": "min", "suffix": ""}
