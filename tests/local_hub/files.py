"""Files on their way down, and large ones on their way up."""

from __future__ import annotations

import hashlib
import shutil
from typing import Any

from .replies import Refusal, Reply
from .server import PAGE, Handler, route
from .store import LARGE
from .xet import xet_hash


@route("GET", PAGE + "/resolve/(?P<revision>[^/]+)/(?P<path>.+)")
def _resolve(asked: Handler, name: str, revision: str, path: str, kind: str = "models") -> Reply:
    repo = asked.repo(kind, name)
    commit = repo.at(revision)
    file = repo.file(commit, path)
    headers = {"X-Repo-Commit": commit["id"], "Accept-Ranges": "bytes"}
    if not file["lfs"]:
        return Reply(asked.hub.store.blob(file["sha256"]), 200, headers | {"ETag": f'"{file["oid"]}"'})
    headers |= {"X-Linked-Etag": f'"{file["sha256"]}"', "X-Linked-Size": str(file["size"])}
    headers["Location"] = f"{asked.hub.storage}/{file['sha256']}"
    if hash := xet_hash(asked.hub.store, file["sha256"]):
        token = f"{asked.hub.endpoint}/api/{kind}/{name}/xet-read-token/{commit['id']}"
        headers |= {"X-Xet-Hash": hash, "Link": f'<{token}>; rel="xet-auth"'}
    return Reply(b"", 302, headers)


@route("POST", PAGE + r"\.git/info/lfs/objects/batch")
def _lfs_batch(asked: Handler, name: str, kind: str = "models") -> Reply:
    """Where to send each large file that is not there yet: whole, or in parts."""
    asked.repo(kind, name, write=True)
    body = asked.json()
    objects = []
    for each in body["objects"]:
        answer, storage = {"oid": each["oid"], "size": each["size"]}, f"{asked.hub.storage}/{each['oid']}"
        parts = -(-each["size"] // LARGE)
        upload: dict[str, Any] = {"href": storage}
        if parts > 1 and "multipart" in body["transfers"]:
            urls = {str(part): f"{storage}/parts/{part:05}" for part in range(1, parts + 1)}
            upload = {"href": f"{storage}/complete", "header": {"chunk_size": str(LARGE), **urls}}
        if not asked.hub.store.blob(each["oid"]).exists():
            answer["actions"] = {"upload": upload, "verify": {"href": f"{asked.hub.endpoint}/api/lfs-verify"}}
        objects.append(answer)
    return Reply({"objects": objects, "transfer": "multipart"})


@route("POST", "/api/lfs-verify")
def _lfs_verify(asked: Handler) -> Reply:
    body = asked.json()
    if not asked.hub.store.blob(body["oid"]).exists():
        raise Refusal(404, f"{body['oid']} was not uploaded")
    return Reply()


@route("GET", "/storage/(?P<sha256>[0-9a-f]{64})")
def _stored(asked: Handler, sha256: str) -> Reply:
    return Reply(asked.hub.store.blob(sha256), 200, {"ETag": f'"{sha256}"', "Accept-Ranges": "bytes"})


@route("PUT", "/storage/(?P<sha256>[0-9a-f]{64})")
def _store(asked: Handler, sha256: str) -> Reply:
    asked.hub.store.keep(asked.chunks, sha256)
    return Reply()


@route("PUT", "/storage/(?P<sha256>[0-9a-f]{64})/parts/(?P<part>[0-9]+)")
def _store_part(asked: Handler, sha256: str, part: str) -> Reply:
    data = b"".join(asked.chunks)
    folder = asked.hub.store.root / "incoming" / sha256
    folder.mkdir(exist_ok=True)
    (folder / part).write_bytes(data)
    return Reply(headers={"ETag": f'"{hashlib.md5(data).hexdigest()}"'})


@route("POST", "/storage/(?P<sha256>[0-9a-f]{64})/complete")
def _complete(asked: Handler, sha256: str) -> Reply:
    folder = asked.hub.store.root / "incoming" / sha256
    parts = [folder / f"{part['partNumber']:05}" for part in asked.json()["parts"]]
    asked.hub.store.keep((part.read_bytes() for part in parts), sha256)
    shutil.rmtree(folder)
    return Reply()
