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
from ..runs.atomic import put_in_place
from ..runs.dataset import finish_dataset, write_shards
from ..runs.folder import DATA, MANIFEST, is_folder, parquet_rows
from ..runs.locks import locked
from ..runs.manifest import copy_hashed, files_hash, finished_stage
from ..runs.provenance import Origin, published_origins
from ..schema import LEVELS, Candidate, Pair, StepLabels, Tree
from .repository import TYPES, Missing, NotFound, Repository, download

RECORDS: dict[str, type] = {"candidates": Candidate, "trees": Tree, "labels": StepLabels, "pairs": Pair}
MODELS = ("model", "policy")
#: The type of repository that each kind is published in, in the order of sending: what others are made of first.
TYPE_OF = {**dict.fromkeys(RECORDS, "dataset"), "policy": "model", "model": "model", "demo": "space"}
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
    repository: str
    kind: Literal["candidates", "trees", "labels", "pairs", "model", "policy", "demo"]
    parts: dict[Annotated[str, Field(pattern=r"^\w[\w.-]*$")], _Dataset | _Model]  # a key becomes a file's name
    files: dict[str, str]


#: The modules that publishing adds to a reward model's checkpoint, below SCORING, and all files that it adds.
SCORING = Path(__file__).parents[1] / "scoring"
CODE = tuple(sorted(file.name for file in SCORING.glob("[!_]*.py")))
ADDED = ("statistics.png", *CODE)


@dataclass(frozen=True)
class Publication:
    """A repository that this package published, or laid out to be published.

    repository: where it was found. folder: holds what was downloaded so far, the manifest at least. type: of the
    repository on the Hub: dataset, model or space.
    """

    repository: Repository
    folder: Path
    manifest: Mapping[str, Any]
    type: str

    @property
    def kind(self) -> str:
        """candidates, trees, labels, pairs, model, policy or demo."""
        return self.manifest["kind"]

    @property
    def name(self) -> str:
        """OWNER/NAME that it was laid out for."""
        return self.manifest["repository"]

    @property
    def parts(self) -> Mapping[str, Mapping[str, Any]]:
        """The manifests of the stages, by split; of a model by `MODEL`."""
        return self.manifest["parts"]

    def part(self, name: str) -> Mapping[str, Any]:
        """The manifest of the stage that made a part. Raises InputError where there is no such part."""
        if name not in self.parts:
            there = ", ".join(self.parts) or "none"
            raise InputError(f"{self.repository} has no part {name!r}; there are: {there}")
        return self.parts[name]

    def sizes(self) -> dict[str, int]:
        """The bytes of each of its files, by path, where all are in `folder`."""
        return {name: (self.folder / name).stat().st_size for name in sorted([*self.manifest["files"], MANIFEST])}

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
        manifest = _manifest(folder, repository)
        return Publication(repository, folder, manifest, TYPE_OF[manifest["kind"]])
    problems: list[InputError] = []
    for repo_type in TYPES:
        try:
            folder = download(repository, repo_type, (MANIFEST,))
            return Publication(repository, folder, _manifest(folder, repository), repo_type)
        except InputError as error:
            if type(error) is Missing:  # it may be the one that is meant
                raise
            problems.append(error)
    raise min(problems, key=lambda problem: isinstance(problem, NotFound))  # what was found and is wrong comes first


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


def file_names(folder: Path) -> list[str]:
    """The paths of all files in a repository's folder, in order."""
    return [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.is_file()]


def check_files(publication: Publication) -> list[str]:
    """Every file that differs from the manifest, is missing, or is not listed there, as a message each."""
    publication.fetch()
    listed = publication.manifest["files"]
    there = file_names(publication.folder)
    problems = []
    for name, wanted in sorted(listed.items()):
        if name not in there:
            problems.append(f"{name} is missing")
        elif files_hash(publication.folder / name) != wanted:
            problems.append(f"{name} was changed: its SHA-256 is not the one in {MANIFEST}")
    # the Hub adds .gitattributes to a repository, its client .cache/ to a folder that it downloads into
    added = {MANIFEST, ".gitattributes"}
    if publication.repository.is_local:
        added |= {name for name in there if name.startswith(".cache/huggingface/")}
    return problems + [f"{name} is not listed in {MANIFEST}" for name in there if name not in {*listed, *added}]


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
    publication.part(part)
    names = part_files(publication, part)
    publication.fetch(*names)
    for name in names:
        shown = f"{publication.repository}: {name}"
        yield from parquet_rows(publication.folder / name, shown, "download or publish it again")


def restore(publication: Publication, part: str, out: str | Path) -> dict[str, Any]:
    """Writes the folder `out` as the stage wrote it, as an input of further stages; returns the stage's manifest.

    Does nothing where it is there already. Raises InputError where `out` is anything else, and where the published
    content does not have the recorded hash.
    """
    out = Path(out)
    manifest = dict(publication.part(part))
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
    copy_hashed(publication.folder, folder, without=ADDED if is_scorer else ())
    config = folder / "config.json"
    if is_scorer and config.is_file():
        trained = json.loads(config.read_text("utf-8"))
        trained.pop("custom_pipelines", None)
        config.write_text(config_text(trained), "utf-8")
    return files_hash(folder)


def config_text(config: Mapping[str, Any]) -> str:
    """A model's config as transformers writes it."""
    return json.dumps(config, indent=2, sort_keys=True) + "\n"
