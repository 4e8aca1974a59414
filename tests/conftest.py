"""Shared by tests in several folders. Tiny models are faster on one thread, and pytest's workers share the cores."""

import os
import re
import tempfile
from pathlib import Path

import pytest

# before the first import of a library that reads them: caches, login and settings are this process's own
_CACHES = tempfile.TemporaryDirectory(prefix="openprm-tests-")
for _name in filter(re.compile("(HF|HUGGING|TRANSFORMERS)_").match, [*os.environ]):
    del os.environ[_name]
os.environ |= dict.fromkeys(("XDG_CACHE_HOME", "MPLCONFIGDIR"), _CACHES.name)

import torch  # noqa: E402
from hypothesis import HealthCheck, settings  # noqa: E402

from tests import tiny_models  # noqa: E402

torch.set_num_threads(1)
# on a busy machine any example may take long
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reward model with random weights."""
    tokenizer = tiny_models.tokenizer()
    model = tiny_models.model(vocab_size=len(tokenizer))
    return tiny_models.saved(tmp_path_factory.mktemp("base") / "base", model, tokenizer)


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
