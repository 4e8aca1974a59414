"""Run a stage: skip it where it is finished, resume it where it was killed, describe what it made.

A stage reads datasets or models and writes one folder. It works in another and renames that when it is complete, so a
folder that exists is whole. `manifest.json` in it holds everything that determines the content (parameters, hashes of
inputs, versions, seeds) and the result (counts, a hash); nothing in it depends on time or place. Times go to
`log.jsonl` beside it.

    .OUT.partial/                   renamed OUT when it is complete
    .OUT.partial/.work/stage.json   the stage, its parameters and inputs
    .OUT.partial/.work/...          what a killed run resumes from
"""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ..errors import InputError, first_line
from ..hub_id import HubId
from ..schema import SCHEMA_VERSION
from .atomic import put_in_place, write_whole
from .folder import MANIFEST, is_folder, locate, read_manifest
from .locks import is_held, lock_path, locked
from .provenance import hub_types, inherited

LOG = "log.jsonl"
WORK = ".work"  # in an unfinished folder: what a killed run resumes from (shards, checkpoints)
_EXPENSIVE = ("[0-9]*.parquet", "checkpoints/checkpoint-*")  # in WORK: discarded only with --force
_DESCRIPTION = "stage.json"  # in WORK: the stage, its parameters and inputs
CURVE = ("curve.csv", "curve.png")  # of training
_NO_CONTENT = (MANIFEST, LOG, "README.md", *CURVE)  # files that say how a folder was made
_RECORDED = ("openprm", "datasets", "pyarrow", "rapidfuzz", "transformers", "torch")


@dataclass(frozen=True)
class Part:
    """The part `index` (from 1) of `of` equal parts of a run, by shards."""

    index: int
    of: int

    def __post_init__(self) -> None:
        if not 1 <= self.index <= self.of:
            raise ValueError(f"part {self.index}/{self.of} is not one of 1/{self.of} to {self.of}/{self.of}")

    @classmethod
    def parse(cls, text: str) -> Part:
        """`"2/8"`: the second of eight parts."""
        index, slash, of = text.partition("/")
        if not (slash and index.isdecimal() and of.isdecimal()):
            raise ValueError(f"{text!r} is not I/N, such as 1/4 for the first of four parts")
        return cls(int(index), int(of))

    @property
    def name(self) -> str:
        """As a part of a file's name."""
        return f"{self.index}-of-{self.of}"

    def has(self, shard: int) -> bool:
        return shard % self.of == self.index - 1


def run_stage(
    out: str | Path,
    name: str,
    parameters: Mapping[str, Any],
    inputs: Mapping[str, str | Path],
    work: Callable[[Path], Mapping[str, Any]],
    *,
    force: bool = False,
    replace: bool = False,
    part: Part | None = None,
) -> dict[str, Any]:
    """Makes the folder `out` by `work` and returns its manifest; an empty one for a `part`, which never finishes it.

    `work(folder)` writes into the folder it is given and returns what the manifest should say of the result (a
    `row_hash` or `files_hash`, counts, and `origins` where they are others than its inputs'). What it keeps below
    `folder / WORK` is there again when a killed run is resumed, and removed in the end.

    With the same parameters and inputs as the finished `out`, nothing is done, unless `force`. Raises InputError where
    `out` is finished, or has finished shards, with other ones, unless `force` or `replace`; where `out` is anything
    else; and where another process is making it. Several parts may run at once.
    """
    out = Path(out)
    description = _describe(out, name, parameters, inputs)
    with ExitStack() as held:
        with locked(out, wait=part is not None):
            if (there := finished_stage(out, name, description["fingerprint"])) and not force:
                return there
            if is_folder(out) and not (force or replace):
                difference = _difference(read_manifest(out), description)
                raise InputError(f"{out} was made with {difference}; choose another --out, or replace it by --force")
            partial = _begin(out, {**description, "force": force}, replace, part)
            if part is None:
                result = work(partial)
                manifest = {**description, "origins": inherited(inputs), "versions": versions(), **result}
                (partial / MANIFEST).write_text(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n", "utf-8")
                _log(partial, "end", name)
                put_in_place(partial, out)
                shutil.rmtree(out / WORK)  # last, so that a run killed before this finds its work again
                return manifest
            held.enter_context(locked(partial / WORK / part.name))
        work(partial)
    return {}


def _describe(out: Path, name: str, parameters: Mapping[str, Any], inputs: Mapping[str, str | Path]) -> dict[str, Any]:
    """Everything that a stage's result is determined by. Raises InputError where `out` is one of its inputs."""
    if any(Path(path).resolve() == out.resolve() for path in inputs.values()):
        raise InputError(f"{out} is an input of what should be written there; choose another --out")
    description = {
        "stage": name,
        "schema_version": SCHEMA_VERSION,
        "parameters": dict(parameters),
        "inputs": {role: describe_input(path, role) for role, path in inputs.items()},
    }
    fingerprint = hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()
    return {**description, "fingerprint": fingerprint}


def finished_stage(out: Path, name: str, fingerprint: str) -> dict[str, Any] | None:
    """The manifest, where `out` is what should be made. Raises InputError where it may not be replaced."""
    if is_folder(out):
        there = read_manifest(out)
        if there["stage"] != name:
            raise InputError(f"{out} holds the result of another stage ({there['stage']}); choose another --out")
        if there["fingerprint"] == fingerprint:
            shutil.rmtree(out / WORK, ignore_errors=True)  # left by a process killed at its very end
            return there
        return None
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} exists and is not a folder that openprm wrote; choose another, or remove it")
    return None


def _begin(out: Path, description: Mapping[str, Any], replace: bool, part: Part | None) -> Path:
    """The folder to work in, with nothing in it but what an earlier run, or a part, of the same stage has finished."""
    partial = partial_folder(out)
    work = partial / WORK
    there: Mapping[str, Any] = {}
    with suppress(OSError, ValueError):
        there = json.loads((work / _DESCRIPTION).read_text("utf-8"))
    replace, before = replace or description["force"], there.get("force", False)  # a forced run resumes a forced one
    same = there.get("fingerprint") == description["fingerprint"] and before >= description["force"]
    running = [path.name for path in work.glob(".*.lock") if is_held(path)]
    if running and not (same and part):
        raise InputError(f"parts of {out} are running ({', '.join(running)}); wait for them, or choose another --out")
    if not (same or replace) and any(any(work.glob(kind)) for kind in _EXPENSIVE):
        raise InputError(
            f"{partial} holds unfinished work with {_difference(there, description)}; finish it with the same, choose "
            "another --out, or discard it by --force"
        )
    for path in partial.glob("*") if partial.exists() else ():
        if not (same and path.name in (WORK, LOG)):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    if not same:
        work.mkdir(parents=True)
        write_whole(work / _DESCRIPTION, json.dumps(description))
    _log(partial, "start", description["stage"])
    return partial


def _difference(there: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """How two descriptions differ, in words."""
    if "parameters" not in there:
        return "a damaged description"
    if there["stage"] != wanted["stage"]:
        return f"another stage ({there['stage']})"
    told = []
    for kind in ("parameters", "inputs"):
        for key in {**there[kind], **wanted[kind]}:
            before, now = there[kind].get(key), wanted[kind].get(key)
            if kind == "inputs" and before and now and before != now:
                before, now = before["name"], now["name"]
                told.append(f"another content of {key} ({now})" if before == now else f"{key} {before!r}, not {now!r}")
            elif before != now:
                before, now = (text if len(text := repr(one)) <= 80 else f"{text[:77]}..." for one in (before, now))
                told.append(f"{key} {before}, not {now}")
    return ", ".join(told) or "another schema"


def is_running(out: Path) -> bool:
    """Whether a process is making `out`, or a part of it."""
    return any(map(is_held, [lock_path(out), *(partial_folder(out) / WORK).glob(".*.lock")]))


def describe_input(path: str | Path, role: str = "") -> dict[str, str]:
    """What identifies an input wherever it lies: its name and a hash of its content, on the Hub the commit.

    `path` may be a Hub id, OWNER/NAME, with `@REVISION` or `:CONFIG` behind it; the role then tells whether a dataset
    or a model of that name is meant.
    """
    path = Path(path)
    location = locate(path)
    if location.kind == "stage":
        manifest = read_manifest(location.path)
        return {"name": path.name, "hash": manifest.get("row_hash") or manifest["files_hash"]}
    if location.hub is None:
        return {"name": path.name, "hash": files_hash(location.path)}
    return {"name": str(path), "hash": _commit(location.hub, hub_types(role))}


def resolve_model(model: str, revision: str | None) -> str | None:
    """The commit of a model on the Hub, so that a run takes the same one to its end; None for a folder.

    Raises InputError where there is no such model.
    """
    if Path(model).exists():
        if revision:
            raise InputError(f"{model} is a folder, which has no revision {revision!r}; leave it out")
        return None
    hub = locate(model).hub
    assert hub is not None  # nothing of that name exists here
    return _commit(replace(hub, revision=revision) if revision else hub, ("model",))


def _commit(hub: HubId, types: Sequence[str]) -> str:
    """The commit of a repository on the Hub, of the first of these types that exists.

    Without a connection it is that of a model in the local cache.
    """
    from huggingface_hub import HfApi, try_to_load_from_cache

    api = HfApi()
    for hub_type in types:
        try:
            return str(api.repo_info(hub.repository, repo_type=hub_type, revision=hub.revision).sha)
        except Exception as error:  # of whatever HTTP client the Hub's library uses
            problem = error
    with suppress(ValueError):  # of a name that is none of the Hub's
        cached = try_to_load_from_cache(hub.repository, "config.json", revision=hub.revision)
        if isinstance(cached, str):
            return Path(cached).parent.name
    raise InputError(
        f"{hub}: there is no such file or folder; the Hub does not give it: {first_line(problem)}; check the name"
    ) from problem


def files_hash(path: str | Path, ignore: Sequence[str] = _NO_CONTENT) -> str:
    """SHA-256 of a file, or of the names and contents of the files in a folder (hidden and `ignore`d ones aside)."""
    path = Path(path)
    if path.is_file():
        with path.open("rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest()
    total = hashlib.sha256()
    for name in hashed_files(path, ignore):
        total.update(f"{name.as_posix()}\0{files_hash(path / name)}\n".encode())
    return total.hexdigest()


def hashed_files(folder: Path, ignore: Sequence[str] = _NO_CONTENT) -> list[Path]:
    """The paths in a folder, in order, of the files that its hash covers."""
    names = [file.relative_to(folder) for file in sorted(folder.rglob("*")) if file.is_file()]
    return [name for name in names if name.name not in ignore and not any(part.startswith(".") for part in name.parts)]


def copy_hashed(folder: Path, target: Path, without: Sequence[str] = ()) -> None:
    """Copies the files that a folder's hash covers, without those at these paths, into the folder `target`."""
    for name in hashed_files(folder):
        if name.as_posix() not in without:
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / name, target / name)


def partial_folder(out: Path) -> Path:
    """The folder to work in, which is renamed when it is complete."""
    return out.with_name(f".{out.name}.partial")


def _log(folder: Path, event: str, stage: str) -> None:
    with (folder / LOG).open("a", encoding="utf-8") as file:
        file.write(json.dumps({"event": event, "stage": stage, "time": time.time()}) + "\n")


def versions() -> dict[str, str]:
    """The versions here of Python and of the packages that results may depend on."""
    return {"python": platform.python_version(), **{package: version(package) for package in _RECORDED}}
