"""Send a layout to the Hub: each folder of an owner's is a repository.

All are looked at before anything is sent. Then each changes by one commit or not at all; a run that was broken off is
finished by the next.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openprm.push.hub_repository import Remote
from openprm.push.upload_plan import Planned, plan

from openprm.errors import InputError

_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)*")


@dataclass(frozen=True)
class Sent:
    """A repository as it is now on the Hub: `commit` is its head. Paths of the files that changed, and their bytes."""

    repository: Planned
    commit: str
    sent: tuple[str, ...]
    deleted: tuple[str, ...]
    tag: str | None

    @property
    def size(self) -> int:
        return sum(self.repository.files[path] for path in self.sent)

    def __str__(self) -> str:
        files = self.repository.files
        done = f"{len(self.sent)} sent ({_megabytes(self.size)})" if self.sent else "nothing to send"
        gone = f", {len(self.deleted)} deleted" if self.deleted else ""
        tag = f", tag {self.tag}" if self.tag else ""
        return f"{self.repository}: {len(files)} files, {done}{gone}, {len(files) - len(self.sent)} unchanged{tag}"


def upload(
    root: Path,
    owner: str,
    *,
    private: bool | None,
    tag: str | None,
    token: str | None = None,
    endpoint: str | None = None,
    say: Callable[[str], Any] = print,
) -> list[Sent]:
    """Make the owner's repositories on the Hub equal to the folders below `root`; nothing is sent that is there.

    `private` is for repositories that are new (None: as the Hub does by itself), `tag` names what is published now.
    `token` and `endpoint` are the Hub client's own unless given. `say` is told one line for each repository.

    Raises InputError, before anything is sent, for a token that may not write, a repository that holds something else,
    and a tag of another content; later where the Hub or the disk fails for good, with what is published until then.
    """
    from huggingface_hub import HfApi, get_token

    planned = plan(root, owner)
    if tag is not None and not _TAG.fullmatch(tag):
        raise InputError(f"{tag!r} cannot be a tag: use letters, digits, dots and dashes, as in v1.0")
    token = token or get_token()
    if token is None:
        raise InputError("the Hub does not know you: log in with `hf auth login`, or set HF_TOKEN to a token")

    def scrubbed(text: str) -> str:
        return text.replace(token, "hf_…")  # a server may send it back in its words

    remote = Remote(HfApi(endpoint=endpoint, token=token), private, tag, lambda text: say(scrubbed(text)))
    sent: list[Sent] = []
    try:
        remote.check_writer(owner)
        heads = [remote.look(repository) for repository in planned]
        problems = [problem for pair in zip(planned, heads, strict=True) for problem in remote.obstacles(*pair)]
        if problems:
            raise InputError("; ".join(problems))
        for repository, head in zip(planned, heads, strict=True):
            commit, new, gone = remote.publish(repository, head)
            sent.append(Sent(repository, commit, new, gone, tag))
            say(str(sent[-1]))
    except InputError as error:
        raise InputError(scrubbed(f"{error}. {_standing(planned, sent)}")) from None
    except KeyboardInterrupt:
        say(_standing(planned, sent))
        raise
    return sent


def _standing(planned: list[Planned], sent: list[Sent]) -> str:
    if not sent:
        return "Nothing was published"
    done, left = ([repository.name for repository in part] for part in (planned[: len(sent)], planned[len(sent) :]))
    return f"Published: {', '.join(done)}; not yet: {', '.join(left)}"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size / 1e3:.1f} kB"
