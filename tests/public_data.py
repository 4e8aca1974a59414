"""Small datasets in the layout, and with the columns that are read, of the declared sources on the Hub."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Features, Image, List, Value

from openprm.data.paper_datasets import MATH_CONFIGS


def card(folder: Path, splits: Sequence[str], configs: Sequence[str] = ("default",)) -> None:
    """A README whose configs are laid out as `push_to_hub` lays them out."""
    lines = ["---", "configs:"]
    for config in configs:
        lines += [f"- config_name: {config}", "  data_files:"]
        base = "data" if config == "default" else config
        for split in splits:
            lines += [f"  - split: {split}", f"    path: {base}/{split}-*"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "README.md").write_text("\n".join([*lines, "---", ""]), "utf-8")


def parquet(folder: Path, split: str, rows: Sequence[Any], features: Features | None = None, end: str = "") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist(list(rows), schema=features.arrow_schema if features else None)
    pq.write_table(table, folder / f"{split}-00000-of-00001{end}.parquet")


def lines(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = "".join(json.dumps(row) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def chat(*turns: str) -> list[dict[str, str]]:
    return [{"content": turn, "role": ("user", "assistant")[index % 2]} for index, turn in enumerate(turns)]


def llama3_ultrafeedback(folder: Path, prompts: Sequence[str]) -> Path:
    def row(prompt: str) -> dict[str, Any]:
        return {"prompt_id": "0", "prompt": prompt, "chosen": chat(prompt, "one"), "rejected": chat(prompt, "two")}

    card(folder, ("train", "test"))
    parquet(folder / "data", "train", [row(prompt) for prompt in prompts])
    parquet(folder / "data", "test", [row("kept for the test")])
    return folder


def ultrafeedback_original(folder: Path, instructions: Sequence[str]) -> Path:
    completions = [{"response": "An answer."}] * 4
    rows = [{"source": "flan", "instruction": text, "completions": completions} for text in instructions]
    lines(folder / "evol_instruct.jsonl", rows[::2])  # six such files there
    lines(folder / "flan.jsonl", rows[1::2])
    return folder


def scienceqa_row(**changes: Any) -> dict[str, Any]:
    return {
        "image": None,
        "question": "Which tense does the sentence use?\nMona will print her name with care.",
        "choices": ["present tense", "future tense", "past tense"],
        "answer": 1,
        "hint": "",
        "subject": "language science",
        **changes,
    }


def scienceqa(folder: Path, rows: Sequence[dict[str, Any]]) -> Path:
    columns = {name: Value("string") for name in ("question", "hint", "subject")}
    features = Features({"image": Image(), "choices": List(Value("string")), "answer": Value("int8"), **columns})
    # no data files are declared: they are found by their names
    for split, end in (("train", "-1028f23e353fbe3e"), ("test", "-f0e719df791966ff")):
        wanted = rows if split == "train" else [scienceqa_row(question=f"Of {split}?")]
        parquet(folder / "data", split, wanted, features, end)
    (folder / "README.md").write_text("---\nlicense: cc-by-sa-4.0\n---\n", "utf-8")
    return folder


def math(folder: Path, solutions: dict[str, Sequence[tuple[str, str]]]) -> Path:
    """`solutions`: problems and solutions of some of the configs; the others have a problem of their own."""

    def row(config: str, problem: str, solution: str) -> dict[str, str]:
        return {"problem": problem, "level": "Level 1", "type": config, "solution": solution}

    card(folder, ("train", "test"), MATH_CONFIGS)
    for config in MATH_CONFIGS:
        of_config = solutions.get(config, [(f"The only problem in {config}?", r"It is \boxed{0}.")])
        parquet(folder / config, "train", [row(config, *pair) for pair in of_config])
        parquet(folder / config, "test", [row(config, f"Test of {config}?", r"\boxed{1}")])
    return folder


def helpsteer2_rows(*prompts: tuple[str, Sequence[tuple[str, Any]]]) -> list[dict[str, Any]]:
    """Rows of prompts with their responses and helpfulness."""
    return [
        {"prompt": prompt, "response": response, "helpfulness": helpfulness, "correctness": 3}
        for prompt, responses in prompts
        for response, helpfulness in responses
    ]


def helpsteer2(folder: Path, rows: Sequence[dict[str, Any]]) -> Path:
    lines(folder / "train.jsonl.gz", rows)
    lines(folder / "validation.jsonl.gz", helpsteer2_rows(("Held out?", [("a", 1), ("b", 2)])))
    lines(folder / "preference" / "preference.jsonl.gz", [{"split": "train", "prompt": "p", "response_1": "a"}])
    (folder / "README.md").write_text("---\nlicense: cc-by-4.0\n---\n", "utf-8")
    return folder


def ultrafeedback_binarized(folder: Path, rows: Sequence[tuple[str, str, str, float, float]]) -> Path:
    """Rows of prompt, chosen, rejected and the two scores."""
    splits = ("train_prefs", "train_sft", "test_prefs")
    card(folder, splits)
    for split in splits:
        content = rows if split == "train_prefs" else [(f"of {split}", "a", "b", 2.0, 1.0)]
        table = [
            {"prompt": prompt, "chosen": chat(prompt, chosen), "rejected": chat(prompt, rejected)}
            | {"score_chosen": better, "score_rejected": worse}
            for prompt, chosen, rejected, better, worse in content
        ]
        parquet(folder / "data", split, table)
    return folder
