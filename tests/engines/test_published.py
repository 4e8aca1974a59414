"""vLLM reads a published model from a Hub, and gives the reward that transformers gives."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from openprm.scoring.pipeline import load_scorer
from tests.fresh_machine import hub_of
from tests.miniature import finished_run  # noqa: F401 (a fixture)


@pytest.mark.skipif(find_spec("vllm") is None, reason="vLLM is not installed: make test-engines")
@pytest.mark.slow
def test_the_cards_snippet_gives_the_same_reward(tmp_path: Path, finished_run: Path):  # noqa: F811
    card = (finished_run / "hub" / "openprm" / "openprm" / "README.md").read_text("utf-8")
    (snippet,) = [block for block in re.findall(r"^```python\n(.*?)^```$", card, re.S | re.M) if "vllm" in block]
    [chat] = re.findall(r"^    chat = (.*)$", snippet, re.M)
    (tmp_path / "snippet.py").write_text(snippet, "utf-8")
    with hub_of(finished_run, tmp_path) as hub:
        environment = hub.environment(tmp_path / "home") | {"VLLM_CPU_KVCACHE_SPACE": "1", "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [sys.executable, "snippet.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
        )
    # not the exit code: vLLM's CPU build now and then aborts at the very end of a process, with everything done
    printed = re.findall(r"^\[(-?[\d.]+)\]$", done.stdout, re.M)
    assert printed, done.stderr[-4000:]
    *question, answer = json.loads(chat)
    scored = load_scorer(str(finished_run / "openprm-0"))({"question": question, "response": answer["content"]})
    assert float(printed[-1]) == pytest.approx(scored["step_rewards"][-1], abs=1e-3)
