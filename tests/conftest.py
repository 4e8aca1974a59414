"""Shared by tests in several folders. Tiny models are faster on one thread, and pytest's workers share the cores."""

from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings

from tests import tiny_models

torch.set_num_threads(1)
# on a busy machine any example may take long
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reward model with random weights."""
    folder = tmp_path_factory.mktemp("base") / "base"
    tokenizer = tiny_models.tokenizer()
    tiny_models.model(vocab_size=len(tokenizer)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A language model that writes answers of the toy domain, more or less."""
    from openprm.presets.toy_stages import ToyPolicy

    folder = tmp_path_factory.mktemp("policy") / "policy"
    ToyPolicy(steps=40).run(folder)
    return folder


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory, base: Path) -> Path:
    """The folders of a small run (see `tests.publication`), which no test may change."""
    from tests.publication import make_model, make_run

    folder = make_run(tmp_path_factory.mktemp("run") / "run")
    make_model(folder, base)
    return folder


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "browser" in getattr(item, "fixturenames", ()):
            item.add_marker("browser")
