"""Tests read nothing from the caches, the login and the settings of whoever runs them."""

import datasets
import evaluate
import huggingface_hub
import matplotlib
import pytest

from tests import conftest

CACHES = {
    "hub": huggingface_hub.constants.HF_HUB_CACHE,
    "login": huggingface_hub.constants.HF_TOKEN_PATH,
    "datasets": datasets.config.HF_DATASETS_CACHE,
    "modules of datasets": datasets.config.HF_MODULES_CACHE,
    "modules of evaluate": evaluate.config.HF_MODULES_CACHE,
    "pictures": matplotlib.get_configdir(),
}


@pytest.mark.parametrize("kind", CACHES)
def test_caches_are_this_processs_own(kind: str):
    assert str(CACHES[kind]).startswith(conftest._CACHES.name)
