"""The demo of a model: served from here, or as the files of a Space that needs no package of ours."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from ..errors import InputError, first_line
from ..runs.folder import read_rows
from ..schema import Candidate
from .demo_page import EXAMPLE, build_for, serve

#: The version of Gradio that the Space is to run with, as its README.md says.
GRADIO = "6.31.0"

#: With the folders that their relative imports expect.
_MODULES = ("viewer/demo_page.py", "viewer/colors.py", "scoring/aggregation.py", "scoring/units.py")


def launch(model: str, *, port: int | None = None, example: Mapping[str, Any] = EXAMPLE) -> None:
    """Serves the demo of a checkpoint (a path or a Hub id) on this machine until it is interrupted.

    `port` is by default the first free one from 7860 on. Raises InputError where Gradio is
    missing, the model cannot be read, or the port is taken.
    """
    try:
        import gradio  # noqa: F401
    except ImportError as error:
        raise InputError("the demo needs the extra: pip install 'openprm[demo]'") from error
    from ..scoring.pipeline import load_scorer

    try:
        scorer = load_scorer(model)
    except OSError as error:
        raise InputError(f"{model} cannot be read as a model: {first_line(error)}; check the name") from error
    except ValueError as error:
        raise InputError(f"{model} is no reward model: {first_line(error)}") from error
    blocks = build_for(scorer, f"Step rewards by {model}", example)
    try:
        serve(blocks, server_port=port)
    except OSError as error:
        where = "any port from 7860 on" if port is None else f"port {port}"
        raise InputError(f"the demo cannot listen on {where}: taken already; choose another --port") from error


def example_of(candidates: str) -> dict[str, Any] | None:
    """An example for `build_for`: the first question of one message, with its first two different answers.

    `candidates` are a folder or a published dataset. None where no question has two.
    """
    answers: dict[str, dict[str, None]] = {}
    for row in read_rows(candidates, Candidate):
        if len(row["question"]) == 1 and row["response"].strip():
            question = row["question"][0]["content"]
            answers.setdefault(question, {})[row["response"]] = None
            if len(answers[question]) == 2:
                return {"question": question, "answers": [*answers[question]]}
    return None


def space_files(model_repo: str, example: Mapping[str, Any] = EXAMPLE) -> dict[str, str]:
    """The texts of the Space that shows `model_repo` (OWNER/NAME), by path in its repository.

    `README.md` and `manifest.json` are not among them.
    """
    templates = files("openprm.push").joinpath("space")
    package = "openprm_demo"
    return {
        "app.py": templates.joinpath("app.py").read_text("utf-8").replace("OWNER/openprm", model_repo),
        "requirements.txt": templates.joinpath("requirements.txt").read_text("utf-8"),
        "example.json": json.dumps(dict(example), ensure_ascii=False, indent=2) + "\n",
        **{f"{folder}/__init__.py": "" for folder in (package, f"{package}/viewer", f"{package}/scoring")},
        **{f"{package}/{name}": files("openprm").joinpath(name).read_text("utf-8") for name in _MODULES},
    }
