"""`import openprm` is light, its names are there, and transformers knows the task in either order of imports."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import openprm

KNOWN = "from transformers.pipelines import PIPELINE_REGISTRY as r; assert 'openprm-scoring' in r.supported_tasks"


def run(code: str) -> str:
    environment = {**os.environ, "PYTHONPATH": os.getcwd(), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("module", ["openprm", "openprm.data.candidates"])
def test_import_loads_no_heavy_library(module):
    heavy = {"torch", "transformers", "datasets", "pyarrow"} | ({"numpy"} if module == "openprm" else set())
    run(f"import sys, {module}; heavy = {heavy} & set(sys.modules); assert not heavy, heavy")


@pytest.mark.parametrize(
    "code",
    [
        f"import openprm; {KNOWN}",
        f"import transformers.pipelines; import openprm; {KNOWN}",
        f"import openprm.scoring.pipeline; {KNOWN}",
    ],
    ids=["openprm first", "transformers first", "scoring itself"],
)
def test_the_task_is_registered_in_either_order(code):
    run(code)


def test_public_names():
    assert set(openprm.__all__) <= set(dir(openprm))
    for name in openprm.__all__:
        if name != "__version__":  # known only where the package is installed
            assert getattr(openprm, name).__name__ == name
    with pytest.raises(AttributeError, match="nonsense"):
        _ = openprm.nonsense


def test_aggregate_is_the_function_whatever_is_imported():
    run("import openprm; assert openprm.aggregate([2.0, 1.0]) == 1.0")
