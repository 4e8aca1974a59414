"""A program that samples without an end, to be killed: `python -m tests.engines.sampling MODEL`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import count

import psutil

from openprm.engines.base import Batch, Sampling
from openprm.engines.vllm_generator import VllmGenerator


def batches() -> Iterator[Batch]:
    for index in count():
        yield Batch(index, [[{"role": "user", "content": str(index)}]], [index])


if __name__ == "__main__":
    generator = VllmGenerator(sys.argv[1], dtype="float32", enforce_eager=True)
    for _ in generator.generate(batches(), Sampling(n=16, temperature=1.0, max_new_tokens=40)):
        print("engine", *(child.pid for child in psutil.Process().children(recursive=True)), flush=True)
