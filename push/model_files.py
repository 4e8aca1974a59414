"""The files of a model's repository: the checkpoint as it was trained, and for a reward model the code that scores.

The weights are copied, not loaded and saved: what is published is what was measured.
`openprm.hub.publication` takes the code out again, which gives back the checkpoint's files byte for byte.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from openprm.errors import InputError
from openprm.hub.publication import ADDED, CODE, SCORING, config_text
from openprm.models.readout import Ends, declared_model

_CONFIG = "config.json"


def kind_of(checkpoint: Path) -> str:
    """`model` for a reward model, `policy` for any other model.

    Raises InputError where the folder is no checkpoint, or of one that is read otherwise than at ends.
    """
    try:
        config = json.loads((checkpoint / _CONFIG).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{checkpoint} is no checkpoint of transformers: {error}") from error
    if not isinstance(readout := declared_model(checkpoint).readout, Ends):
        raise InputError(
            f"{checkpoint}: its readout is {readout.kind!r}, and the pipeline that is published with a model reads "
            "`ends` only; publish its weights by the Hub's own tools, and the YAML file that declares it"
        )
    architectures = config.get("architectures") or [""]
    return "model" if architectures[0].endswith("ForSequenceClassification") else "policy"


def add_scoring_code(folder: Path) -> None:
    """Makes `pipeline("openprm-scoring", model=..., trust_remote_code=True)` work, as `Pipeline.save_pretrained` does.

    Raises InputError where the checkpoint could not be given back: config.json is not as transformers writes it, or
    names a pipeline, or a file is called as one that is added.
    """
    from openprm.scoring.pipeline import TASK, OpenPRMScoringPipeline

    config = folder / _CONFIG
    text = config.read_text("utf-8")
    described = json.loads(text)
    if config_text(described) != text:
        raise InputError(f"{config} is not as transformers writes it: load the model and save it once")
    if "custom_pipelines" in described:
        raise InputError(f"{config} names a pipeline of its own; load the model, remove that, and save it once")
    for name in ADDED:
        if (folder / name).exists():
            raise InputError(f"the checkpoint has a file {name}, which publishing would replace; rename it there")
    registered = OpenPRMScoringPipeline._registered_impl[TASK]
    models = [model.__name__ for model in registered["pt"]]
    pipeline = {**registered, "impl": f"pipeline.{OpenPRMScoringPipeline.__name__}", "pt": models}
    config.write_text(config_text({**described, "custom_pipelines": {TASK: pipeline}}), "utf-8")
    for name in CODE:
        shutil.copyfile(SCORING / name, folder / name)
