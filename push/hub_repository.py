"""The repositories on the Hub: what they hold, and how one is made equal to a folder by one commit, or not at all.

A commit names the head that was looked at as its parent: if somebody changes the repository meanwhile, the commit is
refused and nothing is lost. Large files go before the commit and are kept by the Hub, so that the next run of a broken
one sends only those that are missing.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from openprm.push.retry import FIRST_CONTACT, Patience, explained, failures, is_passing, patiently, status
from openprm.push.upload_plan import Planned, publication

from openprm.errors import InputError
from openprm.runs.folder import MANIFEST

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

Result = TypeVar("Result")

_HUBS_OWN = ".gitattributes"
_CARD = "README.md"
#: A card as the Hub may put it into a repository that somebody has just created: YAML, and in a Space one sentence.
_STUB = re.compile(
    rb"\s*(?:---\r?\n(?:(?!---).*\n)*---\s*(?:Check out the configuration reference at https?://\S+\s*)?)?"
)
#: How the Hub refuses a commit whose parent is not the head any more, or while another is being made.
_OVERTAKEN = (409, 412)


class Obstacle(InputError):
    """Something on the Hub that a repository must not be published over."""


@dataclass(frozen=True)
class Head:
    """A repository's newest commit on the Hub (or the one that a tag names), and its files."""

    commit: str
    private: bool
    files: Mapping[str, RepoFile]


class _Digests:
    """The SHA-256 (for large files) and the git hashes of local files, each computed once if at all."""

    def __init__(self) -> None:
        self._known: dict[tuple[Path, bool], str] = {}

    def __call__(self, path: Path, large: bool) -> str:
        if (path, large) not in self._known:
            with path.open("rb") as file:
                before = b"" if large else b"blob %d\0" % path.stat().st_size
                digest = hashlib.sha256(before) if large else hashlib.sha1(before)
                while chunk := file.read(1 << 20):
                    digest.update(chunk)
            self._known[path, large] = digest.hexdigest()
        return self._known[path, large]


class Remote:
    """The Hub as `api` talks to it. `private` is for new repositories, `tag` for what is published."""

    def __init__(self, api: HfApi, private: bool | None, tag: str | None, say: Callable[[str], Any]):
        self._api, self._private, self._tag, self._say = api, private, tag, say
        self._digest = _Digests()

    def check_writer(self, owner: str) -> None:
        """Raises InputError where the token is known not to write to the owner's repositories."""
        patience, impatience = Patience(self._say, "the Hub"), Patience(self._say, "the Hub", FIRST_CONTACT)
        who: dict[str, Any] = {}
        with explained(owner):
            while not who:
                try:
                    who = self._api.whoami()
                except failures() as error:
                    if not is_passing(error):
                        raise
                    (patience if status(error) else impatience).wait(error)
        access = who.get("auth", {}).get("accessToken", {})  # a login by browser has none
        roles = {who["name"]: "write", **{each["name"]: each.get("roleInOrg") for each in who.get("orgs", [])}}
        if owner not in roles:
            raise InputError(
                f"{owner} is neither you ({who['name']}) nor an organization of yours; publish under a name of yours,"
                " or join it"
            )
        scopes = access.get("fineGrained", {}).get("scoped", [])
        writable = {scope["entity"].get("name", "") for scope in scopes if "repo.write" in scope["permissions"]}
        may_write = access.get("role") != "fineGrained" or any(name.split("/")[0] == owner for name in writable)
        if access.get("role") == "read" or not may_write:
            raise InputError(f"{owner}: your token may only read; create one that may write to its repositories")
        if roles[owner] == "read":
            raise InputError(f"{owner}: you may only read there; ask the organization for the right to write")

    def look(self, repository: Planned, revision: str | None = None) -> Head | None:
        """The head of a repository, or the commit of a revision; None where there is no such repository."""
        from huggingface_hub.errors import RepositoryNotFoundError
        from huggingface_hub.hf_api import RepoFile

        where = _where(repository)

        def look() -> Head | None:
            try:
                info = self._api.repo_info(**where, revision=revision)
            except RepositoryNotFoundError:
                return None
            commit = str(info.sha)
            tree = self._api.list_repo_tree(**where, recursive=True, revision=commit)
            return Head(commit, bool(info.private), {part.path: part for part in tree if isinstance(part, RepoFile)})

        return self._ask(repository, look)

    def obstacles(self, repository: Planned, head: Head | None) -> list[str]:
        """What stands against publishing the repository over what is there."""
        problems = []
        if head is not None:
            checks = (self._check_ours, self._check_private, lambda *_: self._is_tagged(repository))
            for check in checks:
                try:
                    check(repository, head)
                except Obstacle as obstacle:
                    problems.append(str(obstacle))
            if self._private is False and head.private:
                self._say(f"{repository} is private and stays so; make it public on its page")
        return problems

    def publish(self, repository: Planned, head: Head | None) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
        """One commit if anything differs, then the tag if it is not there. Head, what was sent and what deleted."""
        where = _where(repository)
        if head is None:
            sdk = "gradio" if repository.type == "space" else None
            self._ask(
                repository,
                lambda: self._api.create_repo(**where, private=self._private, space_sdk=sdk, exist_ok=True),
            )
            head = self._look_again(repository)
            self._check_ours(repository, head)
            self._check_private(repository, head)  # somebody else may have been quicker to make it
        new, gone = self._changes(repository, head)
        if kept := sorted(_others(repository, head) - set(gone)):
            self._say(f"{repository} keeps what was not published from here: {', '.join(kept)}")
        commit = self._commit(repository, head, new, gone) if new or gone else head.commit
        if self._tag is not None and not self._is_tagged(repository):
            tag = self._tag
            self._ask(repository, lambda: self._api.create_tag(**where, tag=tag, revision=commit, exist_ok=True))
            self._is_tagged(repository)  # raises where somebody else was first
        return commit, tuple(new), tuple(gone)

    def _ask(self, repository: Planned, call: Callable[[], Result]) -> Result:
        with explained(repository.name):
            return patiently(call, Patience(self._say, str(repository)))

    def _look_again(self, repository: Planned) -> Head:
        head = self.look(repository)
        if head is None:
            raise InputError(f"{repository.name} is not there any more; run the same command again")
        return head

    def _check_ours(self, repository: Planned, head: Head) -> None:
        theirs = set(head.files) - {_HUBS_OWN}
        if theirs == {_CARD} and _STUB.fullmatch(self._download(repository, head, _CARD)):
            return
        manifest = publication(self._download(repository, head, MANIFEST)) if MANIFEST in theirs else None
        if theirs and (manifest is None or manifest["kind"] != repository.kind):
            listed = ", ".join(sorted(theirs)[:3])
            raise Obstacle(
                f"{repository.name} holds something else than {repository.kind} of openprm ({listed}); publish under"
                " another name or owner, or delete it"
            )

    def _check_private(self, repository: Planned, head: Head) -> None:
        if self._private and not head.private:
            raise Obstacle(f"{repository.name} is public; make it private on its page, or publish without that")

    def _download(self, repository: Planned, head: Head, path: str) -> bytes:
        from huggingface_hub import hf_hub_url
        from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

        url = hf_hub_url(
            repository.name, path, repo_type=repository.type, revision=head.commit, endpoint=self._api.endpoint
        )

        def get() -> bytes:
            answer = get_session().get(url, headers=build_hf_headers(token=self._api.token))
            hf_raise_for_status(answer)
            return answer.content

        return self._ask(repository, get)

    def _is_tagged(self, repository: Planned) -> bool:
        """Whether the tag is there; raises Obstacle where it names another content."""
        if self._tag is None:
            return False
        refs = self._ask(repository, lambda: self._api.list_repo_refs(repository.name, repo_type=repository.type))
        if any(branch.name == self._tag for branch in refs.branches):
            raise Obstacle(f"{repository.name} has a branch {self._tag}; choose another name for the tag")
        if all(known.name != self._tag for known in refs.tags):
            return False
        tagged = self.look(repository, self._tag)
        if tagged is None or any(self._changes(repository, tagged)):
            raise Obstacle(
                f"{repository.name} has a tag {self._tag} of another content; choose another, or delete that one"
            )
        return True

    def _changes(self, repository: Planned, head: Head) -> tuple[list[str], list[str]]:
        """The files that are to be sent, and those that are to be deleted: what was published from here before."""

        def differs(path: str, size: int) -> bool:
            there = head.files.get(path)
            if there is None or there.size != size:
                return True
            known = there.lfs.sha256 if there.lfs else there.blob_id
            return self._digest(repository.folder / path, bool(there.lfs)) != known

        new = [path for path, size in repository.files.items() if differs(path, size)]
        others = _others(repository, head)
        before = publication(self._download(repository, head, MANIFEST)) if others and MANIFEST in head.files else None
        return new, sorted(others & set(before["files"] if before else ()))

    def _commit(self, repository: Planned, head: Head, new: list[str], gone: list[str]) -> str:
        """The commit that makes the repository equal. An answer that was lost is found out by looking."""
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        where = _where(repository)
        additions = [CommitOperationAdd(path, str(repository.folder / path)) for path in new]
        self._ask(repository, lambda: self._api.preupload_lfs_files(**where, additions=additions, free_memory=False))
        deletions = [CommitOperationDelete(path, is_folder=False) for path in gone]
        patience = Patience(self._say, str(repository))
        with explained(repository.name):
            while True:
                failure: Exception | None = None
                try:
                    self._api.create_commit(
                        **where,
                        operations=[*additions, *deletions],
                        commit_message=f"Publish with openprm {version('openprm')}",
                        parent_commit=head.commit,
                    )
                except failures() as error:
                    if not is_passing(error) and status(error) not in _OVERTAKEN:
                        raise
                    failure = error
                now = self._look_again(repository)
                if not any(self._changes(repository, now)):
                    return now.commit
                if now.commit != head.commit:
                    raise InputError(
                        f"{repository.name} was changed by somebody else meanwhile, and left as it is; look at it, and"
                        " run the same command again"
                    )
                if failure is None:
                    raise InputError(f"{repository.name}: the Hub took the commit but does not show it; run it again")
                patience.wait(failure)


def _where(repository: Planned) -> dict[str, Any]:
    return {"repo_id": repository.name, "repo_type": repository.type}


def _others(repository: Planned, head: Head) -> set[str]:
    """The files on the Hub that the repository does not have."""
    return set(head.files) - set(repository.files) - {_HUBS_OWN}
