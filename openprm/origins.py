"""Whose data and models something was made of, and under which licences: handed on from stage to stage.

A manifest lists its origins; a stage takes over those of its inputs. What the last of them, a published repository,
may be licensed as, follows from the list (`openprm.licences`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypedDict

import yaml

from .folder import MANIFEST


class Origin(TypedDict, total=False):
    """A data set or model of others. None where something is not known.

    kind: `data` or `model`. hub: its id on the Hub. licence: an identifier of SPDX's or the Hub's, in any case.
    """

    name: str
    kind: str
    hub: str | None
    revision: str | None
    split: str | None
    licence: str | None
    homepage: str | None
    citation: str | None


def inherited(inputs: Iterable[str | Path]) -> list[Origin]:
    """The origins of what a stage reads, each once: folders of stages, published repositories, Hub ids, or files.

    What says nothing of its origins is one itself, under the licence that its card names, if any.
    """
    return unique(origin for path in inputs for origin in _origins(str(path)))


def unique(origins: Iterable[Origin]) -> list[Origin]:
    """Each origin once, in order."""
    found = {json.dumps(origin, sort_keys=True): origin for origin in origins}
    return list(found.values())


def _origins(path: str) -> list[Origin]:
    if os.path.isdir(path):
        said = _manifest(Path(path) / MANIFEST).get("origins")
        return _card_origin(Path(path)) if said is None else said
    if os.path.exists(path):
        return [Origin(name=os.path.basename(path), kind="data", licence=None)]
    return _hub_origins(path.partition(":")[0])


def _manifest(file: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        manifest = json.loads(file.read_text("utf-8"))
        if isinstance(manifest, dict):
            return manifest
    return {}


def _card_origin(folder: Path) -> list[Origin]:
    kind = "model" if (folder / "config.json").exists() else "data"
    licence = None
    with suppress(OSError, ValueError, yaml.YAMLError):
        head = (folder / "README.md").read_text("utf-8").split("---\n")[1:2]
        card = yaml.safe_load(head[0]) if head else None
        licence = card.get("license") if isinstance(card, dict) else None
    return [Origin(name=folder.resolve().name, kind=kind, licence=licence)]


def _hub_origins(name: str) -> list[Origin]:
    from huggingface_hub import HfApi, hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    repository, _, revision = name.partition("@")
    for kind in ("dataset", "model"):
        try:
            info = HfApi().repo_info(repository, repo_type=kind, revision=revision or None)
        except Exception:  # of whatever HTTP client the Hub's library uses; who reads the data says what is wrong
            continue
        with suppress(EntryNotFoundError):
            file = hf_hub_download(repository, MANIFEST, repo_type=kind, revision=info.sha)
            published = _manifest(Path(file))
            if "published_by" in published:
                return published["origins"]
        licence = info.card_data.get("license") if info.card_data else None  # type: ignore[union-attr]
        return [
            Origin(
                name=repository,
                kind="model" if kind == "model" else "data",
                hub=repository,
                revision=info.sha,
                licence=licence,
            )
        ]
    return [Origin(name=repository, kind="data", hub=repository, revision=revision or None, licence=None)]


def with_licences(origins: Iterable[Origin], licences: Mapping[str, str]) -> list[Origin]:
    """The origins, with the licences that somebody who knows them names (by an origin's name) filled in."""
    return [
        Origin(**{**origin, "licence": licences[origin["name"]]}) if origin["name"] in licences else origin
        for origin in origins
    ]
