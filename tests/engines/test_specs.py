from pathlib import Path

import pytest
import torch

from openprm.engines.specs import GeneratorSpec

from .. import tiny_models


@pytest.mark.parametrize("saved", ["float32", "bfloat16"])
def test_the_dtype_is_the_checkpoints_unless_another_is_named(tmp_path: Path, saved: str) -> None:
    model = tiny_models.model().to(getattr(torch, saved))
    model.save_pretrained(tmp_path)
    model = str(tmp_path)
    for engine in ("transformers", "vllm"):
        assert GeneratorSpec(model, engine).precision == saved
        assert GeneratorSpec(model, engine, dtype="float16").precision == "float16"
    assert GeneratorSpec("policy", "server", servers=("http://host/v1",)).precision is None


def test_a_config_without_a_dtype_means_float32(tmp_path: Path) -> None:
    tiny_models.model().config.save_pretrained(tmp_path)
    config = tmp_path / "config.json"
    config.write_text("\n".join(line for line in config.read_text().splitlines() if "dtype" not in line))
    assert GeneratorSpec(str(tmp_path)).precision == "float32"
