"""Look for secrets and for places on this machine in files that are about to be published.

Read are text files, the names, metadata and texts of Parquet, and the header of safetensors; PNG and sentencepiece
files as bytes. Any other file is refused. What is encoded in a text (base64, say) is not found.
"""

from __future__ import annotations

import html
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openprm.errors import InputError, first_line

#: Forms of tokens, by who issues them. Each starts with its own mark and has a length that no word has.
TOKENS = {
    "Hugging Face token": r"(?:hf_|api_org_)[A-Za-z0-9]{30,}|hf_oauth_[A-Za-z0-9_.-]{30,}",
    "OpenAI or Anthropic key": r"sk-[A-Za-z0-9]{32,}|sk-(?:ant|proj|svcacct|admin|or)-[A-Za-z0-9_-]{20,}",
    "GitHub token": r"gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{22,}",
    "GitLab token": r"glpat-[A-Za-z0-9_-]{20,}",
    "AWS key": r"(?:AKIA|ASIA)[0-9A-Z]{16}",
    "Google key": r"AIza[0-9A-Za-z_-]{35}|GOCSPX-[0-9A-Za-z_-]{28}|ya29\.[0-9A-Za-z_-]{40,}",
    "Slack token": r"xox[abeprs]-[0-9A-Za-z-]{20,}|xapp-[0-9]-[0-9A-Za-z-]{20,}",
    "Stripe key": r"[rs]k_live_[0-9A-Za-z]{20,}",
    "npm or PyPI token": r"npm_[A-Za-z0-9]{36}|pypi-AgEI[A-Za-z0-9_-]{50,}",
    "JSON web token": r"eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{20,}",
    "private key": r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY(?: BLOCK)?-----(?s:.){0,200}?[A-Za-z0-9+/]{40,}",
}
YOURS, PLACE, LOCAL, UNREADABLE = "your token", "place on this machine", "local path", "cannot be read"
BEARER, PASSWORD = "Bearer token", "password in an address"
#: What only files that the project writes itself must not hold: an answer may talk of /home/user.
_OWN = {
    PASSWORD: r"""://[^\s/:@\\"'<>(){}|`]*:[^\s/@\\"<>{}|`]+@[A-Za-z0-9\[]""",
    BEARER: r"[Bb]earer [A-Za-z0-9._~+/-]{20,}",
    LOCAL: r"/(?:home|Users|root|mnt|media|scratch|srv|tmp)/[A-Za-z0-9._-]+"
    r"|[A-Za-z]:[\\/]+Users[\\/]+[A-Za-z0-9._-]+",
}
#: Before a match: no letter or digit, except those of an escape (\\n, \\u003c, %3D); before a path, no relative one.
_ALONE = r"(?:(?<![A-Za-z0-9])|(?<=\\[nrtbfv])|(?<=\\u[0-9a-fA-F]{4})|(?<=%[0-9A-Fa-f]{2}))"
_BEFORE = {LOCAL: _ALONE + r"(?<![._~)}\]-])(?<!:/)", PASSWORD: "", YOURS: "", PLACE: ""}
_AFTER = {PLACE: r"\b"}

#: An absolute path of two parts or more.
_PATH = re.compile(r"""(?<![\w._~)}\]/-])(?:/[^\s/:;,*?|\\"'`<>()\[\]{}]+){2,}""")
#: Text files whose words are data: a page of trees, an example of the demo, a model's vocabulary.
_DATA = re.compile(r".*\.html|example\.json|tokenizer\.json|vocab.*|merges.*|chat_template.*|.*\.model|.*\.spm")
_SHORTEST = 8  # characters of a secret of yours: a shorter one would be found everywhere
_VARIETY = 8  # different characters of a token: hf_xxxxxxxx is a placeholder


@dataclass(frozen=True)
class Finding:
    """What should not be published: `file` below the folder, `where` it occurs first. The excerpt hides a secret."""

    file: str
    where: str
    kind: str
    excerpt: str

    def __str__(self) -> str:
        return f"{self.file}, {self.where}: {self.kind}: {self.excerpt}"


def here() -> tuple[list[str], list[str]]:
    """The secrets of whoever runs this (login, environment), and the home and working folder."""
    from huggingface_hub import get_token

    names = re.compile(r".*(?:_TOKEN|_KEY|_SECRET|PASSWORD)", re.IGNORECASE)
    secrets = [get_token(), *(value for name, value in os.environ.items() if names.fullmatch(name))]
    return [secret for secret in secrets if secret and len(secret) >= _SHORTEST], [str(Path.home()), os.getcwd()]


def scan(
    folder: Path, secrets: Sequence[str] = (), places: Sequence[str] = (), allow: Sequence[str] = ()
) -> list[Finding]:
    """All that should not be published in the files below `folder`, in the order of their names.

    secrets: exact texts besides the known forms of tokens. places: folders of this machine; those at the top, such as
    "/tmp", count in the project's own files only. allow: exact texts that are known to be harmless.

    Raises InputError for a Parquet file that cannot be read.
    """
    spelled = {form for s in secrets if len(s) >= _SHORTEST for form in (s, json.dumps(s)[1:-1], html.escape(s))}
    deep = [place.rstrip("/\\") for place in places if place.rstrip("/\\").count("/") + place.count("\\") > 1]
    yours = {YOURS: "|".join(map(re.escape, spelled)), PLACE: "|".join(map(re.escape, deep))}
    in_data = {**{kind: form for kind, form in yours.items() if form}, **TOKENS}
    patterns = {False: _Pattern(in_data, allow), True: _Pattern({**in_data, **_OWN}, allow)}
    found = []
    for path in sorted(file for file in folder.rglob("*") if file.is_file()):
        name = path.relative_to(folder).as_posix()
        own = not _DATA.fullmatch(path.name) and path.suffix != ".parquet"
        first: dict[tuple[str, str], str] = {}
        try:
            texts = _parquet(path, patterns[False]) if path.suffix == ".parquet" else [*_texts(path)]
            matches = [*patterns[True].matches([("name", name)]), *patterns[own].matches(texts)]
            for where, kind, excerpt in [*matches, *(_existing(texts, allow) if own else ())]:
                first.setdefault((kind, excerpt), where)
        except UnicodeDecodeError:
            first[UNREADABLE, "publish Parquet, safetensors, PNG or UTF-8 text"] = "the whole file"
        except (OSError, ValueError) as error:  # pyarrow's
            raise InputError(f"{name}: cannot be read: {first_line(error)}; lay the repository out again") from error
        shown = patterns[True].masked(name)
        found += [Finding(shown, where, kind, excerpt) for (kind, excerpt), where in first.items()]
    return found


def is_harmless(text: str) -> bool:
    """Whether a card may quote a text: it has no form of a token, and names no path."""
    return not [*_Pattern({**TOKENS, **_OWN}, ()).matches([("", text)])] and not [*_existing([("", text)])]


def _existing(texts: Iterable[tuple[str, str]], allow: Sequence[str] = ()) -> Iterator[tuple[str, str, str]]:
    """Where, kind and excerpt of each absolute path of two parts or more that is there on this machine."""
    for where, text in texts:
        for match in _PATH.finditer(text):
            path = match[0].rstrip(".")
            folder = os.path.dirname(path)
            if path not in allow and (os.path.exists(path) or (folder.count("/") > 1 and os.path.isdir(folder))):
                yield where or f"line {text.count(chr(10), 0, match.start()) + 1}", LOCAL, path


class _Pattern:
    """Forms by kind, joined: `exact` for Python; `rough`, which may find more, for Arrow's fast engine."""

    def __init__(self, kinds: Mapping[str, str], allow: Sequence[str]):
        self.kinds, self.allow = [*kinds], set(allow)
        self.rough = "|".join(f"(?:{form})" for form in kinds.values())
        self.exact = re.compile(
            "|".join(
                f"(?P<k{i}>{_BEFORE.get(kind, _ALONE)}(?:{form}){_AFTER.get(kind, '')})"
                for i, (kind, form) in enumerate(kinds.items())
            )
        )

    def may_match(self, content: bytes) -> bool:
        """Whether it is worth a slow look."""
        import pyarrow as pa
        import pyarrow.compute as pc

        return pc.match_substring_regex(pa.array([content], pa.large_binary()), self.rough)[0].as_py()

    def matches(self, texts: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str, str]]:
        """Where (in a text of its own the line), kind and excerpt of each match in texts that are told by place."""
        for where, text in texts:
            for match in self.exact.finditer(text) if self.may_match(text.encode()) else ():
                kind = self._kind(match)
                stands_for_one = kind in (*TOKENS, BEARER) and len(set(match[0])) <= _VARIETY
                if match[0] not in self.allow and not stands_for_one:
                    line = where or f"line {text.count(chr(10), 0, match.start()) + 1}"
                    yield self.masked(line), kind, self._shown(match)

    def masked(self, text: str) -> str:
        return self.exact.sub(self._shown, text)

    def _kind(self, match: re.Match[str]) -> str:
        return self.kinds[int(str(match.lastgroup)[1:])]

    def _shown(self, match: re.Match[str]) -> str:
        """All of a path, little of a secret."""
        text = match[0]
        return text if self._kind(match) in (PLACE, LOCAL) else f"{text[:4]}… ({len(text)} characters)"


def _texts(path: Path) -> Iterator[tuple[str, str]]:
    """The text of a file that is not Parquet. Raises UnicodeDecodeError where it is none."""
    with path.open("rb") as file:
        if path.suffix == ".safetensors":
            yield "header", file.read(int.from_bytes(file.read(8), "little")).decode()
        elif path.suffix in (".png", ".model", ".spm"):
            yield "the whole file", file.read().decode("latin-1")
        else:
            yield "", file.read().decode()


def _parquet(path: Path, pattern: _Pattern) -> Iterator[tuple[str, str]]:
    """The names, the metadata, and the rows of the batches in which there is something."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        yield "schema", file.schema_arrow.to_string(show_field_metadata=True, show_schema_metadata=True)
        before = 0
        for batch in file.iter_batches(1000):
            if pattern.may_match(batch.serialize().to_pybytes()):  # which holds all texts, one after another
                for row, record in enumerate(batch.to_pylist(), before + 1):
                    yield from ((f"row {row}, column {column}", text) for column, text in _strings(record))
            before += batch.num_rows


def _strings(value: Any, column: str = "") -> Iterator[tuple[str, str]]:
    """Texts in a record, each with the names of its columns."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _strings(item, f"{column}.{name}" if column else name)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item, column)
    elif isinstance(value, str):
        yield column, value
