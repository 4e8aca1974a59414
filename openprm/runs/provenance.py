"""The sources (other people's data and models) of a result, with their licenses: passed on from stage to stage.

A manifest lists its origins; a stage inherits those of its inputs. The card of a published repository shows the list.
The license to publish under is the permissive one that all have, else the user's choice.
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
from .folder import MANIFEST, download, locate


class Origin(TypedDict, total=False):
    """A data set or model that a result derives from. None where something is not known.

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


#: Licenses that ask for no more than naming the authors, by SPDX id in lower case, as the Hub writes it.
PERMISSIVE = frozenset(
    "apache-2.0 mit bsd bsd-2-clause bsd-3-clause isc unlicense cc0-1.0 cc-by-2.0 cc-by-2.5 cc-by-3.0 cc-by-4.0"
    " odc-by pddl".split()
)
#: Ids that the Hub knows; any other is shown there as the name of another license.
HUB_LICENSES = PERMISSIVE | frozenset(
    "cc-by-sa-3.0 cc-by-sa-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0"
    " cc-by-nd-4.0 cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 gpl-2.0 gpl-3.0 lgpl-3.0 agpl-3.0 mpl-2.0 odbl openrail gemma"
    " llama2 llama3 llama3.1 llama3.2 llama3.3 llama4".split()
)


def inherited(inputs: Mapping[str, str | Path]) -> list[Origin]:
    """The origins of what a stage reads, each once: folders of stages, published repositories, Hub ids, or files.

    `inputs` are by role, which tells a model on the Hub from a dataset of the same name. An input without a manifest
    is an origin itself, under the license that its card names, if any.

    Raises InputError for a published manifest whose origins cannot be read.
    """
    return unique(origin for role, path in inputs.items() for origin in _origins(str(path), hub_types(role)))


def hub_types(role: str) -> tuple[str, str]:
    """Which type of repository the input of a stage is, by its role: the likely one, then the other."""
    return ("model", "dataset") if role in ("base", "embedder", "model", "prm") else ("dataset", "model")


def unique(origins: Iterable[Origin]) -> list[Origin]:
    """Each origin once, in order."""
    found = {json.dumps(origin, sort_keys=True): origin for origin in origins}
    return list(found.values())


def _origins(path: str, types: Sequence[str]) -> list[Origin]:
    location = locate(path)
    if location.hub:
        return _hub_origins(location.hub, types)
    folder = Path(location.path)
    itself = Origin(
        name=Path(os.path.abspath(folder)).name, kind="model" if (folder / "config.json").exists() else "data"
    )
    return _folder_origins(folder, itself)


def _hub_origins(hub: HubId, types: Sequence[str]) -> list[Origin]:
    for hub_type in types:
        try:
            folder = download(hub.repository, hub_type, hub.revision, [MANIFEST, "README.md"])
        except InputError:  # what reads the data says what is wrong
            continue
        return _folder_origins(folder, _on_hub(hub, hub_type, folder.name))
    return [Origin(**_on_hub(hub, types[0], hub.revision), license=None)]


def _on_hub(hub: HubId, hub_type: str, revision: str | None) -> Origin:
    kind = "model" if hub_type == "model" else "data"
    return Origin(name=hub.repository, kind=kind, hub=hub.repository, revision=revision)


def _folder_origins(folder: Path, itself: Origin) -> list[Origin]:
    """The origins that a folder's manifest names, else `itself` under the license of its card."""
    from huggingface_hub import metadata_load

    manifest, card = None, None
    with suppress(OSError, ValueError):
        manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
    if isinstance(manifest, dict) and "published_by" in manifest:
        return published_origins(manifest, itself)
    if isinstance(manifest, dict) and "origins" in manifest:
        return manifest["origins"]
    with suppress(OSError, ValueError, yaml.YAMLError):
        card = metadata_load(folder / "README.md")
    return [Origin(**itself, license=_license(card or {}))]


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


def _license(card: Mapping[str, Any]) -> str | None:
    """The license that a card names; None where it leaves it open by naming several, or `other`."""
    license = card.get("license")
    if isinstance(license, list) and len(license) == 1:
        license = license[0]
    if license == "other":
        license = card.get("license_name")
    return license if isinstance(license, str) and license.lower() not in ("", "other", "unknown") else None


def with_licenses(origins: Iterable[Origin], licenses: Mapping[str, str]) -> list[Origin]:
    """The origins, with the licenses that the user names (by an origin's name) where none is known."""
    return [
        Origin(**{**origin, "license": licenses[origin["name"]]})
        if origin["name"] in licenses and not origin.get("license")
        else origin
        for origin in origins
    ]


def is_permissive(origin: Origin) -> bool:
    """Whether a source may be passed on under any license; not where its license is unknown."""
    return str(origin.get("license")).lower() in PERMISSIVE


def choose_license(origins: Sequence[Origin], wanted: str | None) -> str:
    """The license to publish under, in lower case: `wanted`, or the one permissive license that all sources have.

    Raises InputError where the user has to choose.
    """
    if wanted:
        return wanted.lower()
    found = {str(origin.get("license")).lower() for origin in origins}
    if len(found) == 1 and found <= PERMISSIVE:
        return found.pop()
    sources = ", ".join(f"{origin['name']} ({origin.get('license') or 'unknown'})" for origin in origins) or "nothing"
    raise InputError(
        f"this derives from {sources}, which leaves the license open; read the terms of these sources, and say under "
        "which license you publish: --license"
    )
