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
from tests import publication
from tests.local_hub import Hub
from tests.push import uploads
from tests.push.conftest import hub  # noqa: F401 (a fixture)


@pytest.mark.skipif(find_spec("vllm") is None, reason="vLLM is not installed: make test-engines")
@pytest.mark.slow
def test_the_cards_snippet_gives_the_same_reward(tmp_path: Path, hub: Hub, reward_model: Path):  # noqa: F811
    run = publication.make_run(tmp_path / "run")
    model = publication.make_model(run, reward_model)
    owner = publication.publish(run, tmp_path / "openprm", model)
    uploads.publish(owner, hub)
    card = (owner / model.name / "README.md").read_text("utf-8")
    (snippet,) = [block for block in re.findall(r"^```python\n(.*?)^```$", card, re.S | re.M) if "vllm" in block]
    [chat] = re.findall(r"^    chat = (.*)$", snippet, re.M)
    (tmp_path / "snippet.py").write_text(snippet, "utf-8")
    environment = hub.environment(tmp_path / "home")
    done = subprocess.run(
        [sys.executable, "snippet.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
    )
    # not the exit code: vLLM's CPU build now and then aborts at the very end of a process, with everything done
    printed = re.findall(r"^\[(-?[\d.]+)\]$", done.stdout, re.M)
    assert printed, done.stderr[-4000:]
    *question, answer = json.loads(chat)
    scored = load_scorer(str(model))({"question": question, "response": answer["content"]})
    assert float(printed[-1]) == pytest.approx(scored["step_rewards"][-1], abs=1e-3)
