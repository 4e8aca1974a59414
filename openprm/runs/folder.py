"""A dataset as a folder: Parquet shards, a card, and the hash of its rows.

    DIR/README.md            card with the YAML that `datasets.load_dataset(DIR)` reads
    DIR/manifest.json        how it was made (see `openprm.runs.manifest`)
    DIR/data/train-00000.parquet ...
    DIR/rejected.jsonl       input rows that could not be used, and why (where there are any)

Shards are written whole or not at all, so that a killed run leaves only complete ones. The canonical hash of a
dataset is the digest of its rows' digests, in order; it does not depend on shard sizes, Parquet or library versions.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from ..errors import InputError, first_line
from ..hub_id import HubId
from ..schema import ADDED_COLUMNS, Scored, features

DATA = "data"
MANIFEST = "manifest.json"
REJECTED = "rejected.jsonl"

_FILE_SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".parquet", ".gz")  # never the end of a Hub id
_ROW_GROUP = 500  # rows that a reader must hold at once
_DIGEST = 16


def row_digest(row: Mapping[str, Any]) -> bytes:
    """16 bytes that identify a row: BLAKE2b of its JSON with sorted keys, in UTF-8."""
    text = json.dumps(row, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.blake2b(text.encode("utf-8"), digest_size=_DIGEST).digest()


def write_shard(folder: Path, index: int, rows: Iterable[Any], record: type) -> bytes:
    """Writes shard `index` of a dataset of `record`s; returns the digests of its rows (see `count_and_hash`)."""
    import pyarrow as pa

    schema = features(record).arrow_schema
    tables = (
        (pa.Table.from_pylist(batch, schema=schema), b"".join(map(row_digest, batch)))
        for batch in batched(rows, _ROW_GROUP)
    )
    return write_tables(folder, index, tables, record)


def write_tables(folder: Path, index: int, tables: Iterable[tuple[Any, bytes]], record: type) -> bytes:
    """Like `write_shard`, from Arrow tables with the digests of their rows. The file gets its name when complete."""
    import pyarrow.parquet as pq

    path = shard_path(folder, index)
    path.parent.mkdir(parents=True, exist_ok=True)
    schema = features(record).arrow_schema
    written = bytearray()
    partial = path.with_suffix(".partial")
    with pq.ParquetWriter(partial, schema, compression="zstd", write_page_checksum=True) as writer:
        for table, digests in tables:
            writer.write_table(table, row_group_size=_ROW_GROUP)
            written += digests
        if not written:  # some readers cannot tell a file without any row group from a broken one
            writer.write_table(schema.empty_table())
    os.replace(partial, path)
    return bytes(written)


def shard_path(folder: Path, index: int) -> Path:
    return folder / DATA / f"train-{index:05d}.parquet"


def count_and_hash(digests: bytes) -> tuple[int, str]:
    """Number of rows and canonical hash of a dataset, from the digests of its rows in order."""
    return len(digests) // _DIGEST, hashlib.sha256(digests).hexdigest()


def rows_hash(rows: Iterable[Mapping[str, Any]]) -> str:
    """The canonical hash of rows read from anywhere, to compare with a manifest's `row_hash`."""
    total = hashlib.sha256()
    for row in rows:
        total.update(row_digest(row))
    return total.hexdigest()


def is_folder(path: str | Path) -> bool:
    """Whether a stage wrote this folder. Raises InputError where its manifest is damaged."""
    return finished(path) is not None


def finished(path: str | Path) -> dict[str, Any] | None:
    """The manifest of a folder that a stage wrote; None of anything else, such as a published repository, which has a
    `manifest.json` of another kind. Raises InputError where it is damaged.
    """
    file = Path(path) / MANIFEST
    try:
        manifest = json.loads(file.read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError as error:
        raise InputError(f"{file} is damaged ({error}); remove the folder, and make it again") from None
    return manifest if isinstance(manifest, dict) and "fingerprint" in manifest else None


def read_manifest(path: str | Path) -> dict[str, Any]:
    """A folder's manifest; raises InputError where there is none, it is damaged, or no stage wrote it."""
    if (manifest := finished(path)) is None:
        raise InputError(f"{path} has no {MANIFEST} of a stage: it is no folder that openprm wrote, or not finished")
    return manifest


@dataclass(frozen=True)
class Location:
    """Where data or a model given by a user lies.

    kind: a `file`, a folder that a `stage` wrote, another `folder`, or a repository on the `hub`.
    path: of the file or folder. config: of a dataset, where one is named. hub: the repository, of the kind `hub` only.
    """

    kind: Literal["file", "stage", "folder", "hub"]
    path: str
    config: str | None = None
    hub: HubId | None = None


def locate(text: str | Path) -> Location:
    """What a path or name given by a user means: a file, a folder, `FOLDER:CONFIG`, or a Hub id (see `HubId`).

    A package of Python code is not a folder of data: in a checkout of this package `openprm/trees` is on the Hub.
    Raises InputError where it is none of them.
    """
    text = str(text)
    if os.path.isfile(text):
        return Location("file", text)
    folder, _, config = (text, "", "") if os.path.isdir(text) else text.partition(":")
    if os.path.isdir(folder) and not os.path.isfile(os.path.join(folder, "__init__.py")):
        return Location("stage" if is_folder(folder) else "folder", folder, config or None)
    hub = HubId.parse(text)
    if hub is None or text.lower().endswith(_FILE_SUFFIXES):
        raise InputError(f"{text}: there is no such file or folder, nor is it OWNER/NAME on the Hub; check the path")
    return Location("hub", text, hub.config, hub)


def read_rows(path: str | Path, record: type | None = None, split: str | None = None) -> Iterator[dict[str, Any]]:
    """The rows of a dataset in order: of a folder that a stage wrote, of candidates or trees as they are published, or
    of any dataset that `load_dataset` opens by id (`OWNER/NAME[@REVISION][:CONFIG]`).

    `split` is `train` where it is left out. Raises InputError, with the first row, where it is not a dataset, has no
    such split, or its rows are not `record`s.
    """
    location = locate(path)
    if location.kind == "file":
        raise InputError(f"{path} is a file; give a folder that openprm made, as `openprm prompts` and `import` do")
    split = split or "train"
    rows = _read_hub(location.hub, split) if location.hub else _read_shards(Path(location.path), split)
    added = ADDED_COLUMNS.get(record, {}) if record else {}
    for index, read in enumerate(rows):
        row = read | {name: value for name, value in added.items() if read.get(name) is None}
        missing = [] if index or record is None else [name for name in record.__annotations__ if name not in row]
        if record is not None and missing:
            name = "score" if record is Scored else record.__name__.lower()
            raise InputError(f"{path} holds no {name}s: there is no column {missing[0]!r}")
        yield row


def download(repository: str, repo_type: str, revision: str | None = None, patterns: list[str] | None = None) -> Path:
    """The folder of a Hub repository, or of its files of these patterns, in the cache. Raises InputError."""
    from huggingface_hub import constants, snapshot_download

    offline = constants.HF_HUB_OFFLINE  # older versions ask for the list of files even then
    try:
        folder = snapshot_download(
            repository, repo_type=repo_type, revision=revision, allow_patterns=patterns, local_files_only=offline
        )
        return Path(folder)
    except Exception as error:  # of whatever HTTP client the Hub's library uses
        raise InputError(
            f"the Hub does not give {repository}{f' at {revision}' if revision else ''}: {first_line(error)}; check "
            "the name and the connection, or give a local copy"
        ) from error


def load_from_hub(hub: HubId, split: str | None, *, streaming: bool = False) -> Any:
    """What `datasets.load_dataset` reads from the Hub, also where a local folder has the repository's name."""
    from datasets import load_dataset

    path, revision = hub.repository, hub.revision
    if os.path.isdir(path):  # which `load_dataset` would take for the dataset
        path, revision = str(download(path, "dataset", revision)), None
    return load_dataset(path, hub.config, split=split, revision=revision, streaming=streaming)


@contextmanager
def without_pattern(folder: str | Path) -> Iterator[str]:
    """A folder's absolute path. Where `datasets` would read it as a pattern ("a[1]"), that of a copy made of links."""
    path = os.path.abspath(folder)
    if glob.escape(path) == path:
        yield path
        return
    with TemporaryDirectory() as place:
        yield shutil.copytree(path, os.path.join(place, DATA), copy_function=os.symlink)


def _read_hub(hub: HubId, split: str) -> Iterator[dict[str, Any]]:
    try:
        yield from load_from_hub(hub, split, streaming=True)
    except Exception as error:  # `datasets` and the client below it raise anything
        raise InputError(
            f"{hub} is neither a folder nor a dataset that can be opened: {first_line(error)}; check the name"
        ) from error


def _read_shards(folder: Path, split: str) -> Iterator[dict[str, Any]]:
    there: dict[str, list[Path]] = {}
    for path in sorted((folder / DATA).glob("[!.]*-*.parquet")):
        there.setdefault(path.name.partition("-")[0], []).append(path)
    shards = there.get(split)
    if shards is None and there:
        raise InputError(f"{folder} has no split {split!r}: its splits are {', '.join(there)}")
    if shards is None:
        raise InputError(f"{folder} has no {DATA}/train-*.parquet: it is not a dataset that openprm wrote")
    rows, manifest = 0, finished(folder) or {}
    for shard in shards:
        for row in parquet_rows(shard, str(shard), "make the folder again"):
            rows += 1
            yield row
    if manifest.get("rows", rows) != rows:
        raise InputError(f"{folder} has {rows} rows, not {manifest['rows']} as its {MANIFEST} says; make it again")


def parquet_rows(path: Path, name: str, remedy: str) -> Iterator[dict[str, Any]]:
    """The rows of a Parquet file. Raises InputError, with its `name` and a remedy, where it is missing or damaged."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            for batch in file.iter_batches(batch_size=_ROW_GROUP):
                yield from batch.to_pylist()
    except FileNotFoundError:
        raise InputError(f"{name} is missing; {remedy}") from None
    except (pa.ArrowException, OSError, ValueError) as error:  # ValueError: invalid UTF-8
        raise InputError(f"{name} is damaged ({first_line(error)}); {remedy}") from error


def batched(rows: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """Lists of up to `size` rows. (itertools.batched is newer than the oldest Python we support.)"""
    batch = []
    for row in rows:
        batch.append(row)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
