"""`python -m benchmarks [CANDIDATES]`: a table of ratios. CANDIDATES is a Parquet file of real responses."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from importlib.metadata import version
from itertools import chain
from pathlib import Path

import torch
from transformers.utils import logging

from benchmarks import models, trees
from benchmarks.timing import Comparison
from openprm.report import console, print_table

REAL = Path("../shared/data/gsm8k/candidates.parquet")


def main() -> None:
    logging.set_verbosity_error()
    torch.set_num_threads(1)  # small tensors gain nothing from more, and lose much on a busy machine
    real = Path(sys.argv[1]) if len(sys.argv) > 1 else REAL
    parts: Iterator[Comparison | str] = chain(
        trees.on_synthetic(), trees.on_real(real), models.scoring(), models.sharing(), models.training()
    )
    screen = console()
    rows, notes = [], []
    for part in parts:
        if isinstance(part, str):
            notes.append(part)
        else:
            screen.print(f"{part.what}, against {part.against}: {part.ratio:.1f}")
            rows.append(part.row())
    print_table(
        "the same results, side by side (medians)", ["what", "against", "unit", "openprm", "plain", "ratio"], rows
    )
    for note in notes:
        screen.print(note)
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "rapidfuzz"))
    screen.print(
        f"{os.cpu_count()} cores, {torch.get_num_threads()} torch threads, {platform.machine()}, "
        f"Python {platform.python_version()}, {versions}"
    )


if __name__ == "__main__":
    main()
