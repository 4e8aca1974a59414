"""Whose data and models something was made of, and under which licenses: handed on from stage to stage.

A manifest lists its origins; a stage takes over those of its inputs. What the last of them, a published repository,
may be licensed as, follows from the list (`openprm.runs.licenses`).
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
from .folder import MANIFEST


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

    `inputs` are by role, which tells a model of the Hub from a dataset of the same name.
    What says nothing of its origins is one itself, under the license that its card names, if any. What was published
    is one besides its own: it may be under a license that asks more.

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
    if os.path.isfile(path):
        return [Origin(name=os.path.basename(path), kind="data", license=None)]
    folder = Path(path if os.path.isdir(path) else path.partition(":")[0])  # a config's name
    if not folder.is_dir():
        return _hub_origins(path, types)
    manifest = _manifest(folder / MANIFEST)
    if "published_by" in manifest:
        kind = "model" if manifest.get("kind") in ("model", "policy") else "data"
        return published_origins(manifest, Origin(name=folder.resolve().name, kind=kind))
    said = manifest.get("origins")
    return _card_origin(folder) if said is None else said


def _manifest(file: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        manifest = json.loads(file.read_text("utf-8"))
        if isinstance(manifest, dict):
            return manifest
    return {}


def published_origins(manifest: Mapping[str, Any], itself: Origin) -> list[Origin]:
    """The origins of what was published; and itself, where it is not under the license that theirs come to.

    Raises InputError where the manifest does not say them.
    """
    from .licenses import combined

    origins, license = manifest.get("origins"), manifest.get("license")
    if not isinstance(origins, list) or not all(
        isinstance(origin, dict) and isinstance(origin.get("name"), str) for origin in origins
    ):
        raise InputError(f"{itself['name']}: its {MANIFEST} does not say what it derives from; publish it again")
    with suppress(InputError):  # several, say, between which the publisher chose
        if combined(origins) == license:
            return origins
    return [*origins, Origin(**{**itself, "license": license if isinstance(license, str) else None})]


def _card_origin(folder: Path) -> list[Origin]:
    kind = "model" if (folder / "config.json").exists() else "data"
    license = None
    with suppress(OSError, ValueError, yaml.YAMLError):
        head = (folder / "README.md").read_text("utf-8").split("---\n")[1:2]
        card = yaml.safe_load(head[0]) if head else None
        license = _card_license(card) if isinstance(card, dict) else None
    return [Origin(name=folder.resolve().name, kind=kind, license=license)]


def _card_license(card: Mapping[str, Any]) -> str | None:
    """None where the card leaves it open: several licenses, of which it does not say what each is of, or `other`."""
    license = card.get("license")
    if isinstance(license, list) and len(license) == 1:
        license = license[0]
    if license == "other":
        license = card.get("license_name")
    return license if isinstance(license, str) and license.lower() not in ("", "other", "unknown") else None


def _hub_origins(name: str, types: Sequence[str]) -> list[Origin]:
    from huggingface_hub import HfApi, hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    hub = HubId.parse(name) or HubId(name)
    repository, revision = hub.repository, hub.revision
    for hub_type in types:
        kind = "model" if hub_type == "model" else "data"
        try:
            info = HfApi().repo_info(repository, repo_type=hub_type, revision=revision)
        except Exception:  # of whatever HTTP client the Hub's library uses; who reads the data says what is wrong
            continue
        with suppress(EntryNotFoundError):
            file = hf_hub_download(repository, MANIFEST, repo_type=hub_type, revision=info.sha)
            published = _manifest(Path(file))
            if "published_by" in published:
                itself = Origin(name=repository, kind=kind, hub=repository, revision=info.sha)
                return published_origins(published, itself)
        license = _card_license(info.card_data) if info.card_data else None  # type: ignore[union-attr, arg-type]
        return [Origin(name=repository, kind=kind, hub=repository, revision=info.sha, license=license)]
    kind = "model" if types[0] == "model" else "data"
    return [Origin(name=repository, kind=kind, hub=repository, revision=revision, license=None)]


def with_licenses(origins: Iterable[Origin], licenses: Mapping[str, str]) -> list[Origin]:
    """The origins, with the licenses that somebody who knows them names (by an origin's name) where none is known."""
    return [
        origin
        if origin.get("license") or origin["name"] not in licenses
        else Origin(**{**origin, "license": licenses[origin["name"]]})
        for origin in origins
    ]


def check_named(origins: Iterable[Origin], licenses: Mapping[str, str]) -> None:
    """Raises InputError where a license is named of what is no origin, or of one whose license is known."""
    known: dict[str, str | None] = {}
    for origin in origins:
        if origin["name"] not in known or not origin.get("license"):
            known[origin["name"]] = origin.get("license")
    for name, license in licenses.items():
        if name not in known:
            there = ", ".join(known) or "none"
            raise InputError(f"--source-license {name}={license}: there is no such source; the sources are: {there}")
        if theirs := known[name]:
            raise InputError(
                f"--source-license {name}={license}: {name} says itself that it is under {theirs}; leave that out"
            )
