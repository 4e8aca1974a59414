"""Declared readouts: YAML files and the configs of checkpoints."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from openprm.errors import InputError
from openprm.models.readout import KINDS, Ends, Marker, Ratio, declared_model
from openprm.scoring.steps import split
from tests import tiny_models


def written(folder: Path, text: str) -> Path:
    file = folder / "declared.yaml"
    file.write_text(text, "utf-8")
    return file


def test_a_yaml_file_declares_a_model(tmp_path):
    declared = declared_model(
        written(
            tmp_path,
            "model: org/name\nseparator: '\\n\\n'\n"
            "readout: {kind: marker, text: ' ки', head: tokens, positive: '+', negative: '-'}",
        )
    )
    assert declared.readout == Marker(kind="marker", text=" ки", head="tokens", positive="+", negative="-")
    assert declared.model == "org/name"
    assert declared.models() == {"model": "org/name"}
    assert declared.readout.unit == "log-odds"


def test_models_may_lie_beside_the_file_and_all_of_them_are_named(tmp_path):
    (tmp_path / "reference").mkdir()
    declared = declared_model(
        written(tmp_path, "model: org/name\nreadout: {kind: ratio, beta: 0.05, reference: reference}")
    )
    assert isinstance(declared.readout, Ratio)
    assert declared.readout.of == "step"
    assert declared.models() == {"model": "org/name", "reference": str(tmp_path / "reference")}


def test_a_checkpoint_without_a_declaration_is_read_at_ends(tmp_path):
    folder = tiny_models.saved(tmp_path / "plain", tiny_models.model(), tiny_models.tokenizer())
    assert declared_model(folder).readout == Ends()
    assert declared_model(tmp_path / "nowhere").readout == Ends()


def test_a_checkpoint_records_its_readout_in_its_config(tmp_path):
    model = tiny_models.model(num_labels=2)
    model.config.openprm = {
        "separator": "\n",
        "suffix": "",
        "readout": {"kind": "marker", "text": "<m>", "head": "classes", "positive": 1},
    }
    declared = declared_model(tiny_models.saved(tmp_path / "prm", model, tiny_models.tokenizer()))
    assert isinstance(declared.readout, Marker)
    assert declared.readout.positive == 1
    assert declared.separator == "\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("model: a/b\nseparater: x", "unknown key 'separater'; did you mean 'separator'?"),
        ("model: a/b\nreadout: {kind: markers}", "no kind of readout 'markers'; did you mean 'marker'?"),
        ("model: a/b\nreadout: {kind: marker, tex: x}", "readout marker has no key 'tex'; did you mean 'text'?"),
        ("model: a/b\nreadout: ends", "no kind of readout 'ends'"),
        ("model: a/b\nreadout: {kind: ratio, beta: 0.1}", "readout.reference: Field required"),
        ("model: a/b\nreadout: {kind: marker, text: x, head: classs}", "readout.head is 'classs'"),
        ("model: a/b\nreadout: {kind: marker, text: x, head: classes}", "head `classes` takes `positive`"),
        ("model: a/b\nreadout: {kind: marker, text: x, head: tokens, positive: '+'}", "takes two tokens, as texts"),
        (
            "model: a/b\nreadout: {kind: marker, text: x, head: value, positive: 1}",
            "takes neither `positive` nor",
        ),
        ("model: a/b\nreadout: {kind: question, prompt: '{question}'}", "`prompt` lacks {response}"),
        ("model: a/b\nunit: logodds", "unit is 'logodds'"),
        ("readout: {kind: ends}", "name the `model`"),
        ("[", "no YAML file that declares a model"),
    ],
)
def test_what_a_declaration_lacks_is_said_in_one_line(tmp_path, text, said):
    file = written(tmp_path, text)
    with pytest.raises(InputError) as error:
        declared_model(file)
    assert str(error.value).startswith(str(file))
    assert said in str(error.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match=r"nowhere\.yaml"):
        declared_model(tmp_path / "nowhere.yaml")


DOCUMENT = Path(__file__).parents[2] / "docs" / "models.md"


@pytest.mark.parametrize("text", re.findall(r"```yaml\n(.*?)```", DOCUMENT.read_text("utf-8"), re.DOTALL))
def test_what_the_documentation_declares_can_be_read(tmp_path, text):
    declared = declared_model(written(tmp_path, text))
    split("One.\n\nTwo.", declared.separator or "line")


def test_the_documentation_has_every_kind():
    assert all(f"| `{kind}` |" in DOCUMENT.read_text("utf-8") for kind in KINDS)
