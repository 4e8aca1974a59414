"""How long a sequence a loaded model takes."""

from __future__ import annotations

import pytest
import torch
import transformers

from openprm.scoring.forward import longest_sequence
from tests import tiny_models


@pytest.mark.parametrize(
    ("config_class", "options", "longest"),
    [
        ("BertConfig", {}, 64),
        ("GPT2Config", {"n_inner": 48}, 64),
        ("RobertaConfig", {"pad_token_id": 1}, 62),  # positions start behind the padding's
        ("XLMRobertaConfig", {"pad_token_id": 1}, 62),
        ("CamembertConfig", {"pad_token_id": 5}, 58),
        ("MPNetConfig", {"pad_token_id": 1}, 62),
    ],
)
def test_the_longest_sequence_is_what_the_model_takes(config_class, options, longest):
    config = getattr(transformers, config_class)(**{**tiny_models.SIZES, "max_position_embeddings": 64, **options})
    model = transformers.AutoModelForSequenceClassification.from_config(config).eval()
    assert longest_sequence(model) == longest
    ids = torch.full((1, longest + 1), 7)
    with torch.no_grad():
        assert model(ids[:, :-1]).logits.isfinite().all()
        with pytest.raises((IndexError, RuntimeError)):
            model(ids)


def test_positions_in_rotations_have_no_table():
    assert longest_sequence(tiny_models.model("llama")) == 256
    assert longest_sequence(tiny_models.model("mpt", max_position_embeddings=None)) > 10**9
