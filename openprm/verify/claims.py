"""What a repository says of itself beside its rows: its card, its license, whose data it derives from, what loads.

Each check returns what it found, in words, and raises InputError where that is wrong.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..hub.lookup import find_model, find_part
from ..hub.publication import CODE, MODEL, RECORDS, Publication, part_files, part_hash
from ..hub.repository import Missing, Repository
from ..runs.licenses import combined
from ..runs.manifest import files_hash
from ..schema import LEVELS

_CARD = "README.md"
_RESULTS = ".eval_results/"
_BESIDE_DATA = {_CARD, "statistics.png", "trees.html", "LICENSE", "NOTICE"}
_SHOWN = 3


def check_cards(publication: Publication) -> str:
    """The card, and the results that the Hub shows beside it: every number must be the manifest's."""
    from openprm.push.card_check import check_card, check_eval_results

    problems = check_card(_text(publication, _CARD), publication.manifest)
    results = [name for name in publication.manifest["files"] if name.startswith(_RESULTS)]
    for name in results:
        found = check_eval_results(_text(publication, name), publication.manifest)
        problems += [f"{name}: {problem}" for problem in found]
    _refuse(problems)
    return "says nothing that its manifest does not" + (", nor do the results beside it" if results else "")


def check_license(publication: Publication) -> str:
    """The license must be one that the origins allow."""
    origins, license = publication.manifest["origins"], publication.manifest["license"]
    if not license or (allowed := combined(origins, wanted=license)) != license:
        raise InputError(f"it is {license!r}, and {allowed if license else 'one'} must be named")
    return f"{license}, which its {len(origins)} origins allow" if origins else f"{license}, of no other's data"


def check_origins(publication: Publication) -> str:
    """The origins of what each part was made of, where that is published, must be those of the part; and the
    repository's those of its parts.

    Raises Missing where a repository that is named as an input's is not there, or no longer has it.
    """
    total = looked = 0
    for part, manifest in publication.parts.items():
        _contain(publication.manifest["origins"], manifest.get("origins", ()), f"those of {part}")
        for role, recorded in manifest["inputs"].items():
            total += 1
            found = _published_input(publication, part, role, recorded)
            if found is not None:
                looked += 1
                before, source = found
                what = f"those of {before.repository} ({source})"
                _contain(manifest.get("origins", ()), before.parts[source].get("origins", ()), what)
    evaluation = publication.manifest.get("evaluation") or {}
    if measured := evaluation.get("dataset"):
        _claimed(publication.repository, measured, recorded_hash(evaluation["inputs"]["candidates"], "candidates"))
    return f"those of the inputs that are published ({looked} of {total}) are handed on"


def _published_input(
    publication: Publication, part: str, role: str, recorded: Mapping[str, Any]
) -> tuple[Publication, str] | None:
    """Where an input is published; None where nothing says that it is, and it is not where it would be."""
    near, content = publication.repository, recorded_hash(recorded, role)
    claimed = publication.manifest.get("repositories", {}).get(part, {}).get(role)
    if claimed is None:
        try:
            return find_part(near.sibling(role), content) if role in RECORDS else None
        except InputError:
            return None
    return _claimed(near, claimed, content)


def _claimed(near: Repository, claimed: Mapping[str, Any], content: str) -> tuple[Publication, str]:
    """What a manifest names as the place of this content, which must be there."""
    name, part = claimed["name"].rpartition("/")[2], claimed["part"]
    if part == MODEL:
        return find_model(near, name, content)
    found, _ = find_part(near.sibling(name), content)
    if part not in found.parts or part_hash(found, part) != content:
        raise InputError(f"its manifest names {claimed['name']} ({part}) as what has the content {content[:12]}...")
    return found, part


def recorded_hash(recorded: Mapping[str, Any], role: str) -> str:
    """The hash of an input (a commit, of one on the Hub). Raises InputError where it is none."""
    content = recorded["hash"]
    if not isinstance(content, str) or not re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", content):
        raise InputError(f"what its manifest records of the input {role!r} is no hash")
    return content


def _contain(origins: Sequence[Mapping[str, Any]], wanted: Sequence[Mapping[str, Any]], whose: str) -> None:
    """A license may have come to be known since."""
    for origin in wanted:
        if not any(_same(origin, other) for other in origins):
            raise InputError(f"{origin['name']} ({origin.get('license')}) is missing, of {whose}")


def _same(origin: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    names = origin.keys() | other.keys()
    return all(
        origin.get(name) == other.get(name) or (name == "license" and origin.get(name) is None) for name in names
    )


def check_loading(publication: Publication) -> str:
    """What `load_dataset` reads: the files that the card names must be those of the parts, and no others be there."""
    from datasets import Features

    from ..schema import features

    publication.fetch()  # the patterns are matched with what is there
    names = {part: sorted(part_files(publication, part)) for part in publication.parts}
    listed = {name for files in names.values() for name in files}
    unknown = publication.manifest["files"].keys() - listed - _BESIDE_DATA
    _refuse([f"{name} is no file of this dataset" for name in sorted(unknown)])
    wanted = {"default": names}
    if publication.kind == "pairs":
        wanted = {"all": names}
        for level in LEVELS:
            files = {part: [name for name in found if name.startswith(f"{level}/")] for part, found in names.items()}
            wanted[level] = {part: found for part, found in files.items() if found}
    header = _header(publication)
    found = {config["config_name"]: _named_files(publication, config) for config in header["configs"]}
    for config, splits in {**found, **wanted}.items():
        if found.get(config, {}) != wanted.get(config, {}):
            raise InputError(
                f"by the card, config {config!r} reads {_short(found.get(config))}, and it is {_short(splits)}"
            )
    first = header["configs"][0]
    if first["config_name"] not in ("default", "all") or any(
        config.get("default") for config in header["configs"][1:]
    ):
        raise InputError(f"by the card, config {first['config_name']!r} is not what loads where none is named")
    infos = header["dataset_info"]
    record = features(RECORDS[publication.kind])
    for info in infos if isinstance(infos, list) else [infos]:
        if Features._from_yaml_list(info["features"]) != record:
            raise InputError("by the card, the columns have other types than they have")
    return f"the files of its parts, and no others, by the card's {', '.join(found)}"


def _named_files(publication: Publication, config: Mapping[str, Any]) -> dict[str, list[str]]:
    """By split, the files that a config's patterns match."""
    if more := config.keys() - {"config_name", "data_files", "default"}:
        raise InputError(f"by the card, config {config['config_name']!r} is read with {', '.join(sorted(more))}")
    found = {}
    for entry in config["data_files"]:
        patterns = entry["path"] if isinstance(entry["path"], list) else [entry["path"]]
        found[entry["split"]] = sorted(name for pattern in patterns for name in _matching(publication.folder, pattern))
    return found


def _matching(folder: Path, pattern: Any) -> Iterator[str]:
    from datasets.data_files import resolve_pattern

    if not isinstance(pattern, str) or not re.fullmatch(r"[\w*-][\w.*-]*(/[\w*-][\w.*-]*)*", pattern):
        raise InputError(f"by the card, what loads is {pattern!r}, which is no pattern of files in the repository")
    try:
        for name in resolve_pattern(pattern, base_path=str(folder.absolute())):
            yield Path(name).relative_to(folder.absolute()).as_posix()
    except FileNotFoundError:
        return


def _header(publication: Publication) -> dict[str, Any]:
    import yaml

    match = re.match(r"---\n(.*?\n)---(?:\n|$)", _text(publication, _CARD), re.DOTALL)
    header = yaml.safe_load(match[1]) if match else None
    if not isinstance(header, dict) or not header.get("configs"):
        raise InputError("the card's YAML does not say which files load")
    return header


def check_code(publication: Publication, checkpoint: Path, folder: Path) -> str:
    """The scoring code beside a model, and what its config says of it, must be this package's, byte for byte.

    `checkpoint` is the model without it. Raises Missing where another version of the package published it.
    """
    from openprm.push.model_files import add_scoring_code

    ours = folder / "code"
    shutil.rmtree(ours, ignore_errors=True)
    ours.mkdir()
    shutil.copyfile(checkpoint / "config.json", ours / "config.json")
    add_scoring_code(ours)
    names = (*CODE, "config.json")
    hashes = {name: files_hash(ours / name) for name in names}
    theirs = {name: publication.folder / name for name in names}
    others = [name for name, file in theirs.items() if not file.is_file() or files_hash(file) != hashes[name]]
    if others:
        said, here = publication.manifest["published_by"], f"openprm {version('openprm')}"
        if said != here:
            raise Missing(f"{', '.join(others)}: published by {said}, and this is {here}; verify it with that version")
        raise InputError(f"{', '.join(others)}: not as this package has it; do not run it")
    return f"{len(CODE)} modules and config.json are as this package has them"


def _text(publication: Publication, name: str) -> str:
    publication.fetch(name)
    if name not in publication.manifest["files"] or not (publication.folder / name).is_file():
        raise InputError(f"{name} is missing")
    return (publication.folder / name).read_text("utf-8")


def _refuse(problems: Sequence[str]) -> None:
    if problems:
        more = f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise InputError("; ".join(problems[:_SHOWN]) + more)


def _short(splits: Mapping[str, Sequence[str]] | None) -> str:
    names = [name for files in (splits or {}).values() for name in files]
    return (", ".join(names[:_SHOWN]) or "nothing") + (", ..." if len(names) > _SHOWN else "")
