from pathlib import Path
from typing import Any

import pytest
from transformers import HfArgumentParser

import openprm
from openprm.training.config import OpenPRMConfig


def test_the_defaults_are_the_papers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    config = OpenPRMConfig(str(tmp_path), use_cpu=True)
    assert (config.learning_rate, config.num_train_epochs, config.max_length) == (1e-6, 1.0, 2048)
    assert config.per_device_train_batch_size == config.batch_size == 64
    assert (config.process_weight, config.margin, config.report_to) == (1.0, 0.0, [])
    assert openprm.OpenPRMConfig is OpenPRMConfig


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"per_device_train_batch_size": 4}, "follow from batch_size; set tokens_per_device"),
        ({"gradient_accumulation_steps": 4}, "follow from batch_size; set tokens_per_device"),
        ({"process_weight": -1.0}, "process_weight is -1.0"),
        ({"source_weights": {"a": -1.0}}, "source_weights should not be negative"),
        ({"auto_find_batch_size": True}, "would break up the global batches"),
    ],
)
def test_bad_options(tmp_path: Path, options: Any, message: str):
    with pytest.raises(ValueError, match=message):
        OpenPRMConfig(str(tmp_path), use_cpu=True, **options)


def test_options_from_a_command_line(tmp_path: Path):
    arguments = ["--output_dir", str(tmp_path), "--use_cpu", "--source_weights", '{"math": 2.0}', "--margin", "0.5"]
    parser: Any = HfArgumentParser
    (config,) = parser(OpenPRMConfig).parse_args_into_dataclasses(arguments)
    assert config.source_weights == {"math": 2.0}
    assert config.margin == 0.5
