"""Send a layout to the Hub: each folder is a repository, which changes by one commit or not at all.

All repositories are checked before anything is sent. The Hub's client skips what is there already, so an interrupted
run is finished by the same command.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from openprm.errors import InputError
from openprm.hub.client_errors import HubProblem
from openprm.hub.publication import Publication
from openprm.runs.folder import MANIFEST

from .cards import CARD

if TYPE_CHECKING:
    from huggingface_hub import HfApi

Result = TypeVar("Result")

_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)*")
#: What the Hub itself writes into a new repository: YAML, and in a Space one sentence.
_NEW_CARD = re.compile(rb"\s*(---\r?\n(?:(?!---).*\n)*---\s*)?(Check out the configuration reference at \S+\s*)?")

#: How often what failed for a while is tried again, for some 5 minutes; the Hub's client retries some requests only.
_RETRIES = 10
#: The first contact: an address that never answered is likely wrong.
_FIRST_RETRIES = 4


def upload(
    planned: Sequence[Publication],
    *,
    private: bool | None,
    tag: str | None,
    overwrite: bool = False,
    token: str | None = None,
    endpoint: str | None = None,
    say: Callable[[str], Any] = print,
) -> dict[str, str]:
    """Make an owner's repositories on the Hub equal to these folders; returns each one's commit by name.

    private: of repositories that are new (None: the owner's default). tag: names what is published now.
    overwrite: replace a card that was edited on the Hub, and data of other sources. token, endpoint: the Hub client's
    own unless given.

    Raises InputError, before anything is sent, for a token that may not write, a repository that holds something else
    or data of other sources, a card that was edited on the Hub, and a tag of other content; later where the Hub or the
    disk fails for good.
    """
    from huggingface_hub import HfApi, get_token

    if tag is not None and not _TAG.fullmatch(tag):
        raise InputError(f"{tag!r} cannot be a tag: use letters, digits, dots and dashes, as in v1.0")
    token = token or get_token()
    if token is None:
        raise InputError("the Hub does not know you: log in with `hf auth login`, or set HF_TOKEN to a token")
    owner = planned[0].name.partition("/")[0]
    hub = _Hub(HfApi(endpoint=endpoint, token=token), private, tag, overwrite, say)
    done: dict[str, str] = {}
    try:
        _retried(partial(hub.check_writer, owner), owner, say, _FIRST_RETRIES)
        problems = []
        for publication in planned:
            problems += _retried(partial(hub.obstacles, publication), publication.name, say)
        if problems:
            raise InputError("; ".join(problems))
        for publication in planned:
            done[publication.name] = _retried(partial(hub.publish, publication), publication.name, say)
    except InputError as error:
        left = ", ".join(publication.name for publication in planned if publication.name not in done)
        standing = f"Published: {', '.join(done)}; not yet: {left}" if done else "Nothing was published"
        # a server may repeat the token in its message
        raise InputError(f"{error}. {standing}".replace(token, "hf_…")) from None
    return done


def _retried(call: Callable[[], Result], what: str, say: Callable[[str], Any], retries: int = _RETRIES) -> Result:
    """What `call` returns, retried while that may help. Raises InputError about `what` where it fails for good."""
    from huggingface_hub.errors import HTTPError

    for attempt in count():
        try:
            return call()
        except InputError:
            raise
        except (HTTPError, OSError, RuntimeError, ValueError) as error:
            problem = HubProblem(error)
            if attempt >= retries or not problem.is_transient:
                raise InputError(f"{what}: {problem}") from error
            wait = min(2.0**attempt, 60.0)
            say(f"{what}: {problem.brief}; trying again in {wait:.0f} s")
            time.sleep(wait)
    raise AssertionError("unreachable")


@dataclass(frozen=True)
class _Head:
    """The newest commit of a repository on the Hub (or the one of a tag)."""

    commit: str
    private: bool
    files: frozenset[str]
    manifest: Mapping[str, Any] | None
    card: bytes | None


@dataclass(frozen=True)
class _Hub:
    """The Hub as `api` talks to it, with the options of `upload`."""

    api: HfApi
    private: bool | None
    tag: str | None
    overwrite: bool
    say: Callable[[str], Any]

    def check_writer(self, owner: str) -> None:
        """Raises InputError where the token is known not to write to the owner's repositories."""
        who = self.api.whoami()
        roles = {who["name"]: "write", **{each["name"]: each.get("roleInOrg") for each in who.get("orgs", [])}}
        if owner not in roles:
            raise InputError(
                f"{owner} is neither you ({who['name']}) nor an organization of yours; publish under a name of yours,"
                " or join it"
            )
        role = who.get("auth", {}).get("accessToken", {}).get("role")  # a login by browser has none
        if "read" in (role, roles[owner]):
            raise InputError(f"{owner}: your token may only read; use one that may write to its repositories")

    def look(self, publication: Publication, revision: str | None = None) -> _Head:
        """The newest commit of the repository, or the commit of a revision."""
        info: Any = self.api.repo_info(publication.name, repo_type=publication.type, revision=revision)
        files = frozenset(file.rfilename for file in info.siblings or ())
        where = {"repo_type": publication.type, "revision": info.sha}
        read = {
            path: Path(self.api.hf_hub_download(publication.name, path, **where)).read_bytes()
            for path in (MANIFEST, CARD)
            if path in files
        }
        return _Head(str(info.sha), bool(info.private), files, _ours(read.get(MANIFEST)), read.get(CARD))

    def obstacles(self, publication: Publication, head: _Head | None = None) -> list[str]:
        """Why it must not be published over what is on the Hub. `head`: where it is known already."""
        from huggingface_hub.errors import RepositoryNotFoundError

        try:
            head = head or self.look(publication)
        except RepositoryNotFoundError:
            return []
        name, found = publication.name, []
        others = sorted(head.files - {CARD, ".gitattributes"})
        before, now = _sources(head.manifest), _sources(publication.manifest)
        if (others and head.manifest is None) or (head.manifest and head.manifest["kind"] != publication.kind):
            found.append(
                f"{name} holds something else than {publication.kind} of openprm ({', '.join(others[:3])}); publish"
                " under another name or owner, or delete it"
            )
        elif not self.overwrite and before and now and not before & now:
            found.append(
                f"{name} holds {publication.kind} of other sources ({', '.join(sorted(before))}); give this project"
                " names of its own with --prefix, or replace that one with --overwrite"
            )
        elif not self.overwrite and _is_edited(head, (publication.folder / CARD).read_bytes()):
            found.append(
                f"the {CARD} of {name} was edited on the Hub, and publishing would replace it; keep a copy of the"
                " edit, then replace it with --overwrite"
            )
        if self.private and not head.private:
            found.append(f"{name} is public; make it private on its page, or publish without --private")
        if self.tag is not None:
            refs = self.api.list_repo_refs(name, repo_type=publication.type)
            if self.tag in {branch.name for branch in refs.branches}:
                found.append(f"{name} has a branch {self.tag}; choose another name for the tag")
            is_there = self.tag in {tag.name for tag in refs.tags}
            if is_there and self.look(publication, self.tag).manifest != publication.manifest:
                found.append(f"{name} has a tag {self.tag} of other content; choose another, or delete that one")
        return found

    def publish(self, publication: Publication) -> str:
        """One commit if anything differs, then the tag; returns the commit. May be repeated until it succeeds."""
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        name, repo_type = publication.name, publication.type
        sdk = "gradio" if repo_type == "space" else None
        self.api.create_repo(name, repo_type=repo_type, private=self.private, space_sdk=sdk, exist_ok=True)
        head = self.look(publication)
        if problems := self.obstacles(publication, head):  # since the first look, or by whoever created it
            raise InputError("; ".join(problems))
        sizes, before = publication.sizes(), set(head.manifest["files"] if head.manifest else ())
        gone = head.files & before - sizes.keys()
        operations: list[Any] = [CommitOperationAdd(path, str(publication.folder / path)) for path in sizes]
        operations += [CommitOperationDelete(path, is_folder=False) for path in sorted(gone)]
        message = f"Publish with openprm {version('openprm')}"
        commit = self.api.create_commit(
            name, operations, repo_type=repo_type, commit_message=message, parent_commit=head.commit
        ).oid
        if self.tag is not None:
            self.api.create_tag(name, repo_type=repo_type, tag=self.tag, revision=commit, exist_ok=True)
        done = "unchanged" if commit == head.commit else f"published ({sum(sizes.values()) / 1e6:.1f} MB)"
        tagged = f", tag {self.tag}" if self.tag else ""
        self.say(f"{repo_type} {name}: {len(sizes)} files, {done}{tagged}")
        if kept := sorted(head.files - before - sizes.keys() - {".gitattributes"}):
            self.say(f"{repo_type} {name} keeps what was not published from here: {', '.join(kept)}")
        return commit


def _ours(content: bytes | None) -> dict[str, Any] | None:
    """A publication manifest, None where the content is something else."""
    try:
        manifest = json.loads(content or b"")
    except ValueError:
        return None
    ours = isinstance(manifest, dict) and str(manifest.get("published_by")).startswith("openprm ")
    return manifest if ours and "kind" in manifest and isinstance(manifest.get("files"), dict) else None


def _sources(manifest: Mapping[str, Any] | None) -> set[str]:
    """The names of the data that a publication was made from."""
    return {origin["name"] for origin in (manifest or {}).get("origins", ()) if origin.get("kind") != "model"}


def _is_edited(head: _Head, card: bytes) -> bool:
    """Whether the card on the Hub is neither the one that is to be published nor the one that was."""
    if head.card is None or head.card == card:
        return False
    if head.manifest is None:
        return not _NEW_CARD.fullmatch(head.card)
    return hashlib.sha256(head.card).hexdigest() != head.manifest["files"].get(CARD)
