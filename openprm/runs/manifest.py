"""Run a stage: skip it where it is done, resume it where it was killed, describe what it made.

A stage reads datasets or models and writes one folder. It works under a temporary name beside that folder and
renames it when complete, so a folder that exists is whole. `manifest.json` in it holds everything the content is
determined by (parameters, input hashes, versions, seeds) and what came out (counts, hash); nothing in it depends on
time or place. Times go to `log.jsonl` beside it.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ..errors import InputError, first_line
from ..hub_id import HubId
from ..schema import SCHEMA_VERSION
from .folder import MANIFEST, is_folder, read_manifest
from .provenance import hub_types, inherited

LOG = "log.jsonl"
MARK = ".stage.json"  # in unfinished work: what it is to become
_NO_CONTENT = (MANIFEST, LOG, "README.md")  # files that say how a folder was made
_FILES = (".jsonl", ".ndjson", ".json", ".csv", ".parquet", ".gz")  # never the end of a Hub id
_RECORDED = ("openprm", "datasets", "pyarrow", "rapidfuzz", "transformers", "torch")


def run_stage(
    out: str | Path,
    name: str,
    parameters: Mapping[str, Any],
    inputs: Mapping[str, str | Path],
    work: Callable[[Path], Mapping[str, Any]],
    *,
    force: bool = False,
) -> dict[str, Any]:
    """Makes the folder `out` by `work` and returns its manifest.

    `work(folder)` writes into the folder it is given and returns what the manifest should say of the result (a
    `row_hash` or `files_hash`, counts, and `origins` where they are others than its inputs'). It must go on from what
    it finds there: a killed run with the same parameters and inputs left it. With the same parameters and inputs as
    the finished `out`, nothing is done, unless `force`. Raises InputError where `out` is something else than an
    earlier result, or another process is making it.
    """
    out = Path(out)
    description = describe_stage(out, name, parameters, inputs)
    key = hash_json({**description, "openprm": version("openprm")})
    if (there := finished_stage(out, name, key)) and not force:
        return there
    with locked(out):
        partial = partial_folder(out)
        mark = partial / MARK
        if partial.exists() and (force or not mark.is_file() or mark.read_text("utf-8") != key):
            shutil.rmtree(partial)
        if not partial.exists():
            partial.mkdir(parents=True)
            mark.write_text(key, "utf-8")
        return _make(partial, out, {**description, "fingerprint": key, "origins": inherited(inputs)}, work)


def describe_stage(
    out: Path, name: str, parameters: Mapping[str, Any], inputs: Mapping[str, str | Path]
) -> dict[str, Any]:
    """Everything that a stage's result is determined by. Raises InputError where `out` is one of its inputs."""
    if any(Path(path).resolve() == out.resolve() for path in inputs.values()):
        raise InputError(f"{out} is an input of what should be written there; choose another --out")
    return {
        "stage": name,
        "schema_version": SCHEMA_VERSION,
        "parameters": dict(parameters),
        "inputs": {role: describe_input(path, role) for role, path in inputs.items()},
    }


def finished_stage(out: Path, name: str, key: str) -> dict[str, Any] | None:
    """The manifest, where `out` is what should be made. Raises InputError where it may not be replaced."""
    if is_folder(out):
        there = read_manifest(out)
        if there["stage"] != name:
            raise InputError(f"{out} holds the result of another stage ({there['stage']}); choose another --out")
        if there["fingerprint"] == key:
            (out / MARK).unlink(missing_ok=True)  # of a process killed at its very end
            return there
        return None
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} exists and is not a folder that openprm wrote; choose another, or remove it")
    return None


def _make(
    partial: Path, out: Path, description: Mapping[str, Any], work: Callable[[Path], Mapping[str, Any]]
) -> dict[str, Any]:
    started = time.time()
    log_event(partial, event="start", stage=description["stage"], time=started)
    result = dict(work(partial))
    manifest = write_manifest(partial / MANIFEST, description, result)
    log_event(
        partial, event="end", stage=description["stage"], time=time.time(), seconds=round(time.time() - started, 3)
    )
    put_in_place(partial, out)
    (out / MARK).unlink(missing_ok=True)  # only now: whatever is killed before must find its work again
    return manifest


def write_manifest(path: Path, description: Mapping[str, Any], result: Mapping[str, Any]) -> dict[str, Any]:
    manifest = {**description, "versions": _versions(), **result}
    path.write_text(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n", "utf-8")
    return manifest


def describe_input(path: str | Path, role: str = "") -> dict[str, str]:
    """What identifies an input wherever it lies: its name and a hash of its content, on the Hub the commit.

    `path` may be a Hub id, OWNER/NAME, with `@REVISION` or `:CONFIG` behind it; the role then tells whether a dataset
    or a model of that name is meant.
    """
    path = Path(path)
    local, _, config = str(path).partition(":")
    if is_folder(path):
        manifest = read_manifest(path)
        return {"name": path.name, "hash": manifest.get("row_hash") or manifest["files_hash"]}
    if path.exists():
        return {"name": path.name, "hash": files_hash(path)}
    if config and os.path.isdir(local):
        return {"name": path.name, "hash": files_hash(local)}
    if path.suffix in _FILES:
        raise InputError(f"{path}: there is no such file or folder; check the path")
    return {"name": str(path), "hash": _commit(str(path), hub_types(role))}


def resolve_model(model: str, revision: str | None) -> str | None:
    """The commit of a model on the Hub, so that a run takes the same one to its end; None for a folder.

    Raises InputError where there is no such model.
    """
    if Path(model).exists():
        if revision:
            raise InputError(f"{model} is a folder, which has no revision {revision!r}; leave it out")
        return None
    return _commit(f"{model}@{revision}" if revision else model, ("model",))


def _commit(name: str, types: Sequence[str]) -> str:
    """The commit of OWNER/NAME[@REVISION] on the Hub, of the first type of which there is one.

    Without a connection it is that of a model in the local cache.
    """
    from huggingface_hub import HfApi, try_to_load_from_cache

    hub = HubId.parse(name)
    if hub is None:
        raise InputError(f"{name}: there is no such file or folder, nor is it OWNER/NAME on the Hub; check the path")
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
        f"{name}: there is no such file or folder; the Hub does not give it: {first_line(problem)}; check the name"
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


def partial_folder(out: Path) -> Path:
    """The folder to work in, which is renamed when it is complete."""
    return out.with_name(f".{out.name}.partial")


def write_whole(path: Path, text: str) -> None:
    """Whole or not at all, whenever the process is killed."""
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(text, "utf-8")
    os.replace(partial, path)


def put_in_place(partial: Path, out: Path) -> None:
    old = out.with_name(f".{out.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if out.exists():
        os.replace(out, old)
    os.replace(partial, out)
    shutil.rmtree(old, ignore_errors=True)


@contextmanager
def locked(out: Path, *, wait: bool = False) -> Iterator[None]:
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(out.with_name(f".{out.name}.lock"), timeout=-1 if wait else 0):
            yield
    except Timeout:
        raise InputError(f"another process is making {out}; wait for it, or choose another folder") from None


def log_event(folder: Path, **entry: Any) -> None:
    with (folder / LOG).open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry) + "\n")


def _versions() -> dict[str, str]:
    return {"python": platform.python_version(), **{package: version(package) for package in _RECORDED}}


def hash_json(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
