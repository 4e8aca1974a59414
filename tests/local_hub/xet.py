"""Xet: where large files go instead of LFS when hf_xet is installed. Here its storage is a folder."""

from __future__ import annotations

import shutil
import struct
import tempfile
import time
from pathlib import Path
from typing import Any

from .replies import Reply
from .server import API, Handler, route
from .store import Store


@route("GET", API + "/xet-(?P<access>read|write)-token/(?P<revision>[^/]+)")
def _xet_token(asked: Handler, kind: str, name: str, access: str, revision: str) -> Reply:
    """A key to Xet's storage: a fresh folder, as only one process at a time may use one. To read, it is filled."""
    repo = asked.repo(kind, name, write=access == "write")
    folder = Path(tempfile.mkdtemp(prefix=access, dir=asked.hub.store.root / "xet"))
    expires, location = int(time.time()) + 3600, f"local://{folder}"
    if access == "read":
        _fill_xet(asked.hub.store, folder, {f["sha256"] for f in repo.at(revision)["files"].values() if f["lfs"]})
    names = ("X-Xet-Cas-Url", "X-Xet-Access-Token", "X-Xet-Token-Expiration")
    headers = dict(zip(names, (location, "test", str(expires)), strict=True))
    return Reply({"casUrl": location, "accessToken": "test", "exp": expires}, 200, headers)


def fetch_xet(store: Store, sha256: str) -> None:
    """Take a file that a client put in Xet's storage into ours, if there is one."""
    import hf_xet

    for shard in store.root.glob("xet/write*/xet/xorbs/shards/*.mdb"):
        xet_hash = _shard_hashes(shard.read_bytes()).get(sha256)
        if xet_hash:
            with tempfile.TemporaryDirectory(dir=store.root / "incoming") as folder:
                # of a copy: the client may hold its own open
                shutil.copytree(shard.parents[3], folder, dirs_exist_ok=True)
                with hf_xet.XetSession().new_file_download_group(**_xet_access(Path(folder))) as group:
                    group.start_download_file(hf_xet.XetFileInfo(xet_hash, None), f"{folder}/content")
                with open(f"{folder}/content", "rb") as file:
                    store.keep(iter(lambda: file.read(1 << 20), b""), sha256)
            (store.root / "xet" / "hashes" / sha256).write_text(xet_hash)
            return


def _fill_xet(store: Store, folder: Path, contents: set[str]) -> None:
    """Put those that came through Xet into a folder of Xet's storage; Xet's hash depends on the content alone."""
    import hf_xet

    with hf_xet.XetSession().new_upload_commit(**_xet_access(folder)) as commit:
        for sha256 in contents:
            if xet_hash(store, sha256):
                commit.start_upload_file(str(store.blob(sha256)), sha256=sha256)


def _xet_access(folder: Path) -> dict[str, Any]:
    return {"endpoint": f"local://{folder}", "token": "test", "token_expiry_unix_secs": int(time.time()) + 3600}


def xet_hash(store: Store, sha256: str) -> str | None:
    path = store.root / "xet" / "hashes" / sha256
    return path.read_text() if path.exists() else None


def _shard_hashes(shard: bytes) -> dict[str, str]:
    """SHA-256 to Xet hash of the files in one of Xet's shards (format: the "file info" section of its specification).

    Behind a header of 48 bytes come blocks of records of 48 bytes, a block for each file: its hash, flags and the
    number of records, these records, as many again with the flag 31, and one with the SHA-256 with the flag 30. A
    hash of ones ends the section. Hashes are written as four little-endian numbers.
    """
    hashes, at = {}, 48
    while (file := shard[at : at + 32]) != b"\xff" * 32:
        flags, records = struct.unpack_from("<II", shard, at + 32)
        at += 48 * (1 + records * (1 + (flags >> 31 & 1)))
        if flags >> 30 & 1:
            hashes[_xet_hex(shard[at : at + 32])] = _xet_hex(file)
            at += 48
    return hashes


def _xet_hex(data: bytes) -> str:
    return "".join(f"{number:016x}" for number in struct.unpack("<4Q", data))
