"""The data and models of others that something was made of, with their licenses: passed on from stage to stage.

A manifest lists its origins; a stage inherits those of its inputs. The card of a published repository shows the list.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypedDict

import yaml

from ..errors import InputError
from ..hub_id import HubId
from .folder import MANIFEST, locate


class Origin(TypedDict, total=False):
    """A data set or model of others. None where something is not known.

    kind: `data` or `model`. hub: its id on the Hub. license: an identifier of SPDX's or the Hub's, in any case.
    """

    name: str
    kind: str
    hub: str | None
    revision: str | None
    split: str | None
    license: str | None
    homepage: str | None
    citation: str | None


def inherited(inputs: Mapping[str, str | Path]) -> list[Origin]:
    """The origins of what a stage reads, each once: folders of stages, published repositories, Hub ids, or files.

    `inputs` are by role, which tells a model on the Hub from a dataset of the same name. An input without a manifest
    is an origin itself, under the license that its card names, if any.

    Raises InputError for a published manifest whose origins cannot be read.
    """
    return unique(origin for role, path in inputs.items() for origin in _origins(str(path), hub_types(role)))


def hub_types(role: str) -> tuple[str, str]:
    """Which type of repository the input of a stage is, by its role: the likely one, then the other."""
    return ("model", "dataset") if role in ("base", "model", "prm") else ("dataset", "model")


def unique(origins: Iterable[Origin]) -> list[Origin]:
    """Each origin once, in order."""
    found = {json.dumps(origin, sort_keys=True): origin for origin in origins}
    return list(found.values())


def _origins(path: str, types: Sequence[str]) -> list[Origin]:
    location = locate(path)
    if location.kind == "file":
        return [Origin(name=os.path.basename(path), kind="data", license=None)]
    if location.hub:
        return _hub_origins(location.hub, types)
    folder = Path(location.path)
    manifest = _manifest(folder / MANIFEST)
    if "published_by" in manifest:
        kind = "model" if manifest.get("kind") in ("model", "policy") else "data"
        return published_origins(manifest, Origin(name=folder.resolve().name, kind=kind))
    if "origins" in manifest:
        return manifest["origins"]
    kind = "model" if (folder / "config.json").exists() else "data"
    return [Origin(name=folder.resolve().name, kind=kind, license=_card_license(folder))]


def _manifest(file: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        manifest = json.loads(file.read_text("utf-8"))
        return manifest if isinstance(manifest, dict) else {}
    return {}


def published_origins(manifest: Mapping[str, Any], itself: Origin) -> list[Origin]:
    """The origins of what was published; and itself, where it is under another license than all of them.

    Raises InputError where the manifest does not say them.
    """
    origins, license = manifest.get("origins"), manifest.get("license")
    if not isinstance(origins, list) or not all(isinstance(origin, dict) and "name" in origin for origin in origins):
        raise InputError(f"{itself['name']}: its {MANIFEST} does not say what it derives from; publish it again")
    if str(license).lower() in {str(origin.get("license")).lower() for origin in origins}:
        return origins
    return [*origins, Origin(**{**itself, "license": license if isinstance(license, str) else None})]


def _card_license(folder: Path) -> str | None:
    from huggingface_hub import metadata_load

    with suppress(OSError, ValueError, yaml.YAMLError):
        return _license(metadata_load(folder / "README.md") or {})
    return None


def _license(card: Mapping[str, Any]) -> str | None:
    """None where the card leaves it open: several licenses, of which it does not say what each is of, or `other`."""
    license = card.get("license")
    if isinstance(license, list) and len(license) == 1:
        license = license[0]
    if license == "other":
        license = card.get("license_name")
    return license if isinstance(license, str) and license.lower() not in ("", "other", "unknown") else None


def _hub_origins(hub: HubId, types: Sequence[str]) -> list[Origin]:
    from huggingface_hub import HfApi, hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    itself = Origin(name=hub.repository, hub=hub.repository, revision=hub.revision)
    for hub_type in types:
        kind = "model" if hub_type == "model" else "data"
        try:
            info = HfApi().repo_info(hub.repository, repo_type=hub_type, revision=hub.revision)
        except Exception:  # of whatever HTTP client the Hub's library uses; what reads the data says what is wrong
            continue
        itself |= Origin(kind=kind, revision=info.sha)
        with suppress(EntryNotFoundError):
            file = hf_hub_download(hub.repository, MANIFEST, repo_type=hub_type, revision=info.sha)
            published = _manifest(Path(file))
            if "published_by" in published:
                return published_origins(published, itself)
        card = getattr(info, "card_data", None)
        return [Origin(**itself, license=_license(card) if card else None)]
    return [Origin(**itself, kind="model" if types[0] == "model" else "data", license=None)]


def with_licenses(origins: Iterable[Origin], licenses: Mapping[str, str]) -> list[Origin]:
    """The origins, with the licenses that the user names (by an origin's name) where none is known."""
    return [
        Origin(**{**origin, "license": licenses[origin["name"]]})
        if origin["name"] in licenses and not origin.get("license")
        else origin
        for origin in origins
    ]
