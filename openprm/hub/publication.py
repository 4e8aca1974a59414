"""Read a publication: a repository on the Hub that this package published, or a local folder with the same files.

Its `manifest.json` holds its kind, the manifest of the stage that made each part (a split, or the model), and the
SHA-256 of every file. Only what is needed is downloaded, into the Hub's own cache, where a broken download is resumed.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from ..errors import InputError, first_line
from ..runs.dataset import finish_dataset, write_shards
from ..runs.folder import DATA, MANIFEST, is_folder, parquet_rows
from ..runs.locks import locked
from ..runs.manifest import files_hash, finished_stage, hashed_files, put_in_place
from ..runs.provenance import Origin, published_origins
from ..schema import LEVELS, Candidate, Pair, Tree
from .repository import TYPES, Missing, NotFound, Repository, download

RECORDS: dict[str, type] = {"candidates": Candidate, "trees": Tree, "pairs": Pair}
MODELS = ("model", "policy")
#: The only part of a model or a policy.
MODEL = "model"

_Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class _Stage(TypedDict):
    stage: str
    fingerprint: str
    parameters: dict[str, Any]
    inputs: dict[str, Any]
    counts: dict[str, Any]


class _Dataset(_Stage):
    rows: int
    row_hash: _Sha256


class _Model(_Stage):
    files_hash: _Sha256


class _Manifest(TypedDict):
    kind: Literal["candidates", "trees", "pairs", "model", "policy", "demo"]
    parts: dict[Annotated[str, Field(pattern=r"^\w[\w.-]*$")], _Dataset | _Model]  # a key becomes a file's name
    files: dict[str, str]


#: The folder of the modules that publishing adds to a reward model's checkpoint, and their names.
SCORING = Path(__file__).parents[1] / "scoring"
CODE = tuple(sorted(file.name for file in SCORING.glob("[!_]*.py")))
_ADDED = ("statistics.png", *CODE)


@dataclass(frozen=True)
class Publication:
    """A repository that this package published. `folder` holds what was downloaded so far, the manifest at least."""

    repository: Repository
    folder: Path
    manifest: Mapping[str, Any]
    type: str = "dataset"

    @property
    def kind(self) -> str:
        """candidates, trees, pairs, model, policy or demo."""
        return self.manifest["kind"]

    @property
    def parts(self) -> Mapping[str, Mapping[str, Any]]:
        """The manifests of the stages, by split; of a model by `MODEL`."""
        return self.manifest["parts"]

    def fetch(self, *patterns: str) -> None:
        """Downloads the files that match the patterns (all, without one) into `folder`.

        Raises Missing where the Hub does not give them.
        """
        if not self.repository.is_local:
            download(replace(self.repository, revision=self.folder.name), self.type, patterns or None)


def open_publication(where: str | Path | Repository) -> Publication:
    """The publication at `OWNER/NAME[@REVISION]` or in a local folder; downloads only its manifest.

    Raises InputError where there is no such repository or revision, where it may not be read or the Hub cannot be
    reached, and where it holds no manifest of this package.
    """
    repository = where if isinstance(where, Repository) else Repository.parse(where)
    if repository.is_local:
        folder = Path(repository.owner) / repository.name
        return Publication(repository, folder, _manifest(folder, repository))
    problems: list[InputError] = []
    for repo_type in TYPES:
        try:
            folder = download(repository, repo_type, (MANIFEST,))
            return Publication(repository, folder, _manifest(folder, repository), repo_type)
        except InputError as error:
            if type(error) is Missing:  # it may be the one that is meant
                raise
            problems.append(error)
    raise next((problem for problem in problems if not isinstance(problem, NotFound)), problems[0])


def _manifest(folder: Path, name: Repository) -> dict[str, Any]:
    try:
        manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
    except FileNotFoundError:
        there = "there is no such folder" if name.is_local and not folder.is_dir() else f"it has no {MANIFEST}"
        raise InputError(f"{name} was not published by openprm: {there}; check the name") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{name}: its {MANIFEST} is damaged ({first_line(error)}); publish it again") from None
    if not isinstance(manifest, dict) or not str(manifest.get("published_by")).startswith("openprm "):
        raise InputError(f"{name} was not published by openprm: its {MANIFEST} is another's; check the name")
    try:
        TypeAdapter(_Manifest).validate_python(manifest)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise InputError(f"{name}: its {MANIFEST} is damaged ({where}: {first['msg']}); publish it again") from None
    return manifest


def check_files(publication: Publication) -> list[str]:
    """Every file that differs from the manifest, is missing, or is not listed there, as a message each."""
    publication.fetch()
    listed = publication.manifest["files"]
    problems = []
    for name, wanted in sorted(listed.items()):
        file = publication.folder / name
        if not file.is_file():
            problems.append(f"{name} is missing")
        elif files_hash(file) != wanted:
            problems.append(f"{name} is not the file that was published: its SHA-256 is another")
    for file in sorted(publication.folder.rglob("*")):
        name = file.relative_to(publication.folder).as_posix()
        if file.is_file() and name not in listed and not _is_of_the_hub(name, publication.repository):
            problems.append(f"{name} is not listed in {MANIFEST}")
    return problems


def _is_of_the_hub(name: str, repository: Repository) -> bool:
    """Whether the Hub adds this file to a repository, or its client to a folder that it downloads into."""
    return name in (MANIFEST, ".gitattributes") or (repository.is_local and name.startswith(".cache/huggingface/"))


def part_files(publication: Publication, part: str) -> list[str]:
    """The Parquet files of a split, in the order of the stage's rows."""
    folders = LEVELS if publication.kind == "pairs" else (DATA,)
    listed = sorted(publication.manifest["files"])
    pattern = rf"/{re.escape(part)}-\d{{5}}\.parquet"
    return [name for folder in folders for name in listed if re.fullmatch(folder + pattern, name)]


def part_rows(publication: Publication, part: str) -> Iterator[dict[str, Any]]:
    """The rows of a split as the stage wrote them, in its order.

    Raises InputError where there is no such split, and where a file is missing or damaged.
    """
    _part(publication, part)
    names = part_files(publication, part)
    publication.fetch(*names)
    for name in names:
        shown = f"{publication.repository}: {name}"
        yield from parquet_rows(publication.folder / name, shown, "download or publish it again")


def _part(publication: Publication, part: str) -> Mapping[str, Any]:
    if part not in publication.parts:
        there = ", ".join(publication.parts) or "none"
        raise InputError(f"{publication.repository} has no part {part!r}; there are: {there}")
    return publication.parts[part]


def part_hash(publication: Publication, part: str) -> str:
    """The `content_hash` of a part. Raises InputError where there is no such part."""
    return content_hash(_part(publication, part))


def restore(publication: Publication, part: str, out: str | Path) -> dict[str, Any]:
    """Writes the folder `out` as the stage wrote it, as an input of further stages; returns the stage's manifest.

    Does nothing where it is there already. Raises InputError where `out` is anything else, and where the published
    content does not have the recorded hash.
    """
    out = Path(out)
    manifest = dict(_part(publication, part))
    with locked(out, wait=True):
        there = finished_stage(out, manifest["stage"], manifest["fingerprint"])
        if there is not None and content_hash(there) == content_hash(manifest):
            return there
        if is_folder(out):
            raise InputError(
                f"{out} holds another result than {publication.repository} ({part}), which belongs there; "
                "choose another --out, or remove it"
            )
        partial = out.with_name(f".{out.name}.restored")
        shutil.rmtree(partial, ignore_errors=True)  # of a killed run; downloads are kept elsewhere
        partial.mkdir()
        found = (_restore_model if publication.kind in MODELS else _restore_dataset)(publication, part, partial)
        recorded = content_hash(manifest)
        if found != recorded:
            shutil.rmtree(partial)
            raise InputError(
                f"{publication.repository} ({part}) is not what its manifest says: the hash of its content is "
                f"{found[:12]}..., not {recorded[:12]}...; it was damaged or changed after it was published"
            )
        repository = publication.repository
        name = repository.name if repository.is_local else repository.id
        itself = Origin(name=name, kind="model" if publication.kind in MODELS else "data")
        manifest["origins"] = published_origins(publication.manifest, itself)
        (partial / MANIFEST).write_text(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n", "utf-8")
        put_in_place(partial, out)
    return manifest


def content_hash(manifest: Mapping[str, Any]) -> str:
    """The hash of what a stage made, by its manifest: `row_hash` of a dataset, `files_hash` of a model."""
    return manifest.get("row_hash") or manifest["files_hash"]


def _restore_dataset(publication: Publication, part: str, folder: Path) -> str:
    record = RECORDS[publication.kind]
    digests = write_shards(folder, part_rows(publication, part), record)
    return finish_dataset(folder, record, publication.kind, digests, publication.parts[part]["counts"])["row_hash"]


def _restore_model(publication: Publication, part: str, folder: Path) -> str:
    publication.fetch()
    is_scorer = publication.kind == "model"
    for name in hashed_files(publication.folder):
        if not (is_scorer and name.as_posix() in _ADDED):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(publication.folder / name, folder / name)
    config = folder / "config.json"
    if is_scorer and config.is_file():
        trained = json.loads(config.read_text("utf-8"))
        trained.pop("custom_pipelines", None)
        config.write_text(json.dumps(trained, indent=2, sort_keys=True) + "\n", "utf-8")
    return files_hash(folder)
