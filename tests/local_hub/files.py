"""Files on their way down, and large ones on their way up."""

from __future__ import annotations

from .server import PAGE, Handler, route
from .store import Reply


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
    return Reply(b"", 302, headers)


@route("POST", PAGE + r"\.git/info/lfs/objects/batch")
def _lfs_batch(asked: Handler, name: str, kind: str = "models") -> Reply:
    """Where to send each large file that is not there yet."""
    asked.repo(kind, name, write=True)
    body = asked.json()
    objects = []
    for each in body["objects"]:
        answer, storage = {"oid": each["oid"], "size": each["size"]}, f"{asked.hub.storage}/{each['oid']}"
        if not asked.hub.store.blob(each["oid"]).exists():
            answer["actions"] = {"upload": {"href": storage}}
        objects.append(answer)
    return Reply({"objects": objects, "transfer": "basic"})


@route("GET", "/storage/(?P<sha256>[0-9a-f]{64})")
def _stored(asked: Handler, sha256: str) -> Reply:
    return Reply(asked.hub.store.blob(sha256), 200, {"ETag": f'"{sha256}"', "Accept-Ranges": "bytes"})


@route("PUT", "/storage/(?P<sha256>[0-9a-f]{64})")
def _store(asked: Handler, sha256: str) -> Reply:
    asked.hub.store.keep(asked.body)
    return Reply()
