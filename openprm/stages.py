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
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from .folder import MANIFEST, is_folder, read_manifest
from .records import SCHEMA_VERSION
from .rejections import InputError, first_line

LOG = "log.jsonl"
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
    `row_hash` or `files_hash`, and counts). It must go on from what it finds there: a killed run with the same
    parameters and inputs left it. With the same parameters and inputs as the finished `out`, nothing is done, unless
    `force`. Raises InputError where `out` is something else than an earlier result, or another process is making it.
    """
    out = Path(out)
    description = {
        "stage": name,
        "schema_version": SCHEMA_VERSION,
        "parameters": dict(parameters),
        "inputs": {key: describe_input(path) for key, path in inputs.items()},
    }
    description["fingerprint"] = fingerprint = _hash_json({**description, "openprm": version("openprm")})
    if any(Path(path).resolve() == out.resolve() for path in inputs.values()):
        raise InputError(f"{out} is an input of what should be written there; choose another --out")
    if is_folder(out):
        there = read_manifest(out)
        if there["stage"] != name:
            raise InputError(f"{out} holds the result of another stage ({there['stage']}); choose another --out")
        if not force and there["fingerprint"] == fingerprint:
            return there
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} exists and is not a folder that openprm wrote; choose another, or remove it")
    with _locked(out):
        partial = _partial(out, fingerprint, fresh=force)
        started = time.time()
        _log(partial, event="start", stage=name, time=started)
        result = dict(work(partial))
        manifest = {**description, "versions": _versions(), **result}
        (partial / MANIFEST).write_text(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n", "utf-8")
        _log(partial, event="end", stage=name, time=time.time(), seconds=round(time.time() - started, 3))
        (partial / _MARK).unlink()
        _replace(partial, out)
    return manifest


def describe_input(path: str | Path) -> dict[str, str]:
    """What identifies an input wherever it lies: a name and a hash of its content, or a Hub id and its revision."""
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
    from huggingface_hub import HfApi

    try:
        api = HfApi()
        kind = "dataset" if api.repo_exists(local, repo_type="dataset") else "model"
        return {"name": str(path), "hash": str(api.repo_info(local, repo_type=kind).sha)}
    except Exception as error:  # of whatever HTTP client the Hub's library uses
        raise InputError(
            f"{path}: there is no such file or folder; the Hub does not give it: {first_line(error)}; check the name"
        ) from error


def files_hash(path: str | Path, ignore: Sequence[str] = (MANIFEST, LOG, "README.md")) -> str:
    """SHA-256 of a file, or of the names and contents of the files in a folder (hidden and `ignore`d ones aside)."""
    path = Path(path)
    if path.is_file():
        with path.open("rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest()
    total = hashlib.sha256()
    for file in sorted(file for file in path.rglob("*") if file.is_file()):
        name = file.relative_to(path)
        if name.name not in ignore and not any(part.startswith(".") for part in name.parts):
            total.update(f"{name.as_posix()}\0{files_hash(file)}\n".encode())
    return total.hexdigest()


_MARK = ".stage.json"


def _partial(out: Path, fingerprint: str, *, fresh: bool) -> Path:
    """The folder to work in: what a killed run of the same stage left, or an empty one."""
    partial = out.with_name(f".{out.name}.partial")
    mark = partial / _MARK
    if partial.exists() and (fresh or not mark.is_file() or mark.read_text("utf-8") != fingerprint):
        shutil.rmtree(partial)
    if not partial.exists():
        partial.mkdir(parents=True)
        mark.write_text(fingerprint, "utf-8")
    return partial


def _replace(partial: Path, out: Path) -> None:
    old = out.with_name(f".{out.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if out.exists():
        os.replace(out, old)
    os.replace(partial, out)
    shutil.rmtree(old, ignore_errors=True)


@contextmanager
def _locked(out: Path) -> Iterator[None]:
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(out.with_name(f".{out.name}.lock"), timeout=0):
            yield
    except Timeout:
        raise InputError(f"another process is making {out}; wait for it, or choose another folder") from None


def _log(folder: Path, **entry: Any) -> None:
    with (folder / LOG).open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry) + "\n")


def _versions() -> dict[str, str]:
    return {"python": platform.python_version(), **{package: version(package) for package in _RECORDED}}


def _hash_json(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
