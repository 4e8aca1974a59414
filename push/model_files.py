"""The files of a model's repository: the checkpoint as it was trained, and for a reward model the code that scores.

The weights are copied, not loaded and saved anew: what is published is what was measured, whatever its size.
`openprm.published` takes the code out again, which gives back the checkpoint's files byte for byte.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from openprm.folder import MANIFEST
from openprm.rejections import InputError
from openprm.stages import LOG

_CONFIG = "config.json"
_LEFT_OUT = (MANIFEST, LOG, "README.md")


def kind(checkpoint: Path) -> str:
    """`model` for a reward model, `policy` for any other. Raises InputError where the folder is no checkpoint."""
    try:
        architectures = json.loads((checkpoint / _CONFIG).read_text("utf-8")).get("architectures") or [""]
    except (OSError, ValueError) as error:
        raise InputError(f"{checkpoint} is no checkpoint of transformers: {error}") from error
    return "model" if architectures[0].endswith("ForSequenceClassification") else "policy"


def copy_checkpoint(checkpoint: Path, folder: Path) -> None:
    """Copies the files that the checkpoint's hash covers into the new folder `folder`."""
    folder.mkdir(parents=True)
    for path in sorted(checkpoint.iterdir()):
        if path.is_file() and path.name not in _LEFT_OUT and not path.name.startswith("."):
            shutil.copyfile(path, folder / path.name)


def add_scoring_code(folder: Path) -> None:
    """Makes `pipeline("openprm-scoring", model=..., trust_remote_code=True)` work, as `Pipeline.save_pretrained` does.

    Raises InputError where config.json is not as transformers writes it, so that it could not be given back.
    """
    from transformers.dynamic_module_utils import get_relative_import_files

    from openprm import scoring

    config = folder / _CONFIG
    text = config.read_text("utf-8")
    described = json.loads(text)
    if dumped(described) != text:
        raise InputError(f"{config} is not as transformers writes it: load the model and save it once")
    config.write_text(dumped({**described, "custom_pipelines": {scoring.TASK: _described(scoring)}}), "utf-8")
    for source in [str(scoring.__file__), *get_relative_import_files(str(scoring.__file__))]:
        shutil.copyfile(source, folder / Path(source).name)


def dumped(config: Any) -> str:
    """A config as transformers writes it."""
    return json.dumps(config, indent=2, sort_keys=True) + "\n"


def _described(scoring: Any) -> dict[str, Any]:
    registered = scoring.OpenPRMScoringPipeline._registered_impl[scoring.TASK]
    return {
        **registered,
        "impl": f"scoring.{scoring.OpenPRMScoringPipeline.__name__}",
        "pt": [model.__name__ for model in registered["pt"]],
    }
