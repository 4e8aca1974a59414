"""The sampling stage with the real vLLM, killed and gone on with. Run by `make test-engines`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from openprm.runs.folder import read_rows
from openprm.schema import Prompt

from ..folders import contents, dataset
from .test_vllm_generator import policy as vllm_policy  # noqa: F401

pytest.importorskip("vllm")
pytestmark = pytest.mark.slow

PROMPTS, N = 24, 8
WORKER = f"""
import sys
from pathlib import Path
from openprm.engines.specs import GeneratorSpec
from openprm.engines.base import Sampling
from tests.stage_runs import sample
if __name__ == "__main__":
    prompts, model, out = map(Path, sys.argv[1:])
    options = dict(enforce_eager=True, max_model_len=256, max_num_seqs=16)
    spec = GeneratorSpec(str(model), "vllm", dtype="float32", options=options)
    sampling = Sampling(n={N}, temperature=1.0, max_new_tokens=48, seed=3)
    sample(prompts, spec, out, sampling, prompts_per_shard=2)
"""


def worker(folder: Path, prompts: Path, model: Path, out: Path) -> subprocess.Popen[bytes]:
    script = folder / "worker.py"  # vLLM starts processes, which read it again
    script.write_text(WORKER)
    log = (folder / "log").open("ab")
    environment = {**os.environ, "VLLM_CPU_KVCACHE_SPACE": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, script, prompts, model, out], stderr=log, stdout=log, env=environment)


def test_kill_9_and_resume(tmp_path: Path, vllm_policy: Path):  # noqa: F811
    """No candidate is lost or doubled, and on a CPU in float32 all are those of an uninterrupted run."""
    rows = [
        {
            "schema_version": 1,
            "prompt_id": f"p{i}",
            "source": "test",
            "question": [{"role": "user", "content": f"What is {i} + {i * i}?"}],
            "reference": None,
        }
        for i in range(PROMPTS)
    ]
    prompts = dataset(tmp_path / "prompts", Prompt, rows)
    whole = worker(tmp_path, prompts, vllm_policy, tmp_path / "whole")
    assert whole.wait() == 0, (tmp_path / "log").read_text()[-2000:]
    shards = tmp_path / ".killed.partial" / ".store"
    process = worker(tmp_path, prompts, vllm_policy, tmp_path / "killed")
    while process.poll() is None and not list(shards.glob("*.parquet")):
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "killed").exists()
    last = worker(tmp_path, prompts, vllm_policy, tmp_path / "killed")
    assert last.wait() == 0, (tmp_path / "log").read_text()[-2000:]
    found = [(row["prompt_id"], row["sample_index"]) for row in read_rows(tmp_path / "killed")]
    assert found == [(f"p{i}", j) for i in range(PROMPTS) for j in range(N)]
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
