"""Look for secrets and for this machine's places in files that are about to be published.

Files that the project writes itself (manifests, cards, configurations, code) name no local path at all; data may, as
an answer can talk of /home/user: there only this machine's own places count.

Looked into are Parquet (values, names, metadata), the headers of safetensors, PNG but for its pixels, text in UTF-8, a
tokenizer's files, and all their names. Anything else is refused, as nobody can say what is in it. Not looked into are
the numbers of tensors, and what is encoded within a text or a value (base64, or compressed).
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from openprm.push.contents import Sealed, pieces
from openprm.push.secret_patterns import SHORTEST, Search, masked

from openprm.errors import InputError, first_line

#: A kind of finding: a file that nobody can look into.
SEALED = "cannot be looked into"

#: Text files whose words are data: answers in a page of trees, a question of the demo, a model's vocabulary.
_DATA = re.compile(r".*\.html|example\.json|tokenizer\.json|vocab.*|merges.*|chat_template.*|.*\.model|.*\.spm")
#: Where every machine has its programs, and nobody's files lie.
_SYSTEM = set("bin boot dev etc lib lib32 lib64 libx32 opt proc run sbin sys usr var".split())


@dataclass(frozen=True)
class Finding:
    """Something that should not be published: `file` below the folder, `where` it stands first, `count` times.

    None of it ever holds a whole secret.
    """

    file: str
    where: str
    kind: str
    excerpt: str
    count: int = 1

    def __str__(self) -> str:
        more = f" and {self.count - 1} more" if self.count > 1 else ""
        return f"{self.file}, {self.where}{more}: {self.kind}: {self.excerpt}"


def here() -> tuple[list[str], list[str]]:
    """The secrets (login, environment) and the places of whoever runs this.

    Places are the home, working and temporary folder, and the folders at the top, such as "/scratch".
    """
    from huggingface_hub import get_token

    names = re.compile(r".*(?:_TOKEN|_KEY|_SECRET|PASSWORD)", re.IGNORECASE)
    secrets = [get_token(), *(value for name, value in os.environ.items() if names.fullmatch(name))]
    top = [str(path) for path in sorted(Path("/").iterdir()) if path.is_dir() and path.name not in _SYSTEM]
    places = [str(Path.home()), os.getcwd(), tempfile.gettempdir(), *top]
    return [secret for secret in secrets if secret and len(secret) >= SHORTEST], places


def scan(
    folder: Path, secrets: Sequence[str] = (), places: Sequence[str] = (), allow: Sequence[str] = ()
) -> list[Finding]:
    """All that should not be published in the files below `folder`, in the order of their names.

    `secrets` are exact tokens besides the known forms (shorter ones than 8 characters are left out: they would be
    found everywhere), `places` are folders of this machine (ones at the top, such as "/scratch", count only in files
    of the project's own, and "/" nowhere), `allow` are exact texts known to be harmless. Raises InputError for a
    Parquet file that cannot be read.
    """
    search = Search(secrets, places, allow)
    return [
        finding
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        for finding in _scan_file(path, path.relative_to(folder).as_posix(), search)
    ]


def _scan_file(path: Path, name: str, search: Search) -> list[Finding]:
    """One Finding for each text in each column, however often it is there."""
    import pyarrow as pa

    shown = search.hidden(name)
    findings: dict[tuple[str, str, bytes], Finding] = {}
    for match in search.text(name):
        findings["name", match.kind, match.text] = Finding(shown, "name", match.kind, masked(match))
    try:
        for piece in pieces(path, not _DATA.fullmatch(path.name)):
            for match in search(piece.buffer, piece.ends, piece.own):
                key = (piece.about, match.kind, match.text)
                if key in findings:
                    findings[key] = replace(findings[key], count=findings[key].count + 1)
                else:
                    where = search.hidden(piece.where(match.start))
                    findings[key] = Finding(shown, where, match.kind, masked(match))
    except Sealed as why:
        remedy = f"{why}; publish Parquet, safetensors, PNG or UTF-8 text, or leave it out"
        return [*findings.values(), Finding(shown, "the whole file", SEALED, remedy)]
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{shown}: cannot be read: {first_line(error)}; lay the repository out again") from error
    return list(findings.values())
