"""Look for secrets and for this machine's places in files that are about to be published.

Secrets are tokens of well-known forms, which cannot be mistaken for text, and the very tokens of whoever publishes.
Places are this machine's folders. Files that the project writes itself (manifests, cards, configurations, code)
name no home folder at all; data may, as an answer can talk of /home/user: there only this machine's places count.
"""

from __future__ import annotations

import json
import mmap
import os
import re
import tempfile
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openprm.rejections import InputError, first_line

if TYPE_CHECKING:
    import pyarrow as pa

#: Forms of tokens, by who gives them out. Each begins with its own mark and has a length that no word has.
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
YOURS, PLACE, HOME = "token of yours", "place on this machine", "home folder"
_HOMES = r"/(?:home|Users)/[A-Za-z0-9._-]+|[A-Za-z]:[\\/]+Users[\\/]+[A-Za-z0-9._-]+"

#: Text files whose words are data: answers in a page of trees, a tokenizer's vocabulary.
_DATA = re.compile(r".*\.html|tokenizer\.json|vocab.*|merges.*")
_PARQUET_BATCH = 32 * 2**20
_SHORTEST = 8


@dataclass(frozen=True)
class Finding:
    """Something that should not be published: `file` below the folder, `where` it stands first, `count` times.

    `excerpt` never holds a whole secret.
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
    """The secrets (login, environment) and the places (home, working, temporary folder) of whoever runs this."""
    from huggingface_hub import get_token

    names = re.compile(r".*(?:_TOKEN|_KEY|_SECRET|PASSWORD)", re.IGNORECASE)
    secrets = [value for name, value in os.environ.items() if names.fullmatch(name)]
    places = [str(Path.home()), os.getcwd(), tempfile.gettempdir()]
    return [secret for secret in [get_token(), *secrets] if secret and len(secret) >= _SHORTEST], places


def scan(
    folder: Path, secrets: Sequence[str] = (), places: Sequence[str] = (), allow: Sequence[str] = ()
) -> list[Finding]:
    """All that should not be published in the files below `folder`, in the order of their names.

    `secrets` are exact tokens besides the known forms (shorter ones than 8 characters are left out: they would be
    found everywhere), `places` are folders of this machine (those as general as "/root", "/tmp" or "/" are left out),
    `allow` are exact texts known to be harmless. Raises InputError for a Parquet file that cannot be read.
    """
    search = _Search(secrets, places, allow)
    return [
        finding
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        for finding in _scan_file(path, path.relative_to(folder).as_posix(), search)
    ]


#: Offset, kind and text of a match.
Match = tuple[int, str, bytes]
#: Where it stands, its column, kind and text.
Located = tuple[str, str, str, bytes]


class _Search:
    """A quick pass of a linear-time engine says whether a buffer has anything; Python's, with more means, what."""

    def __init__(self, secrets: Sequence[str], places: Sequence[str], allow: Sequence[str]):
        self._allow = {text.encode() for text in allow}
        spelled = _spellings([secret for secret in secrets if len(secret) >= _SHORTEST])
        folders = _spellings([place.rstrip("/") for place in places if _is_specific(place)])
        data = {**TOKENS, **{kind: _any(texts) for kind, texts in ((YOURS, spelled), (PLACE, folders)) if texts}}
        self._kinds = [*data, HOME]
        self._data = _compile(data, self._kinds)
        self._own = _compile({**data, HOME: _HOMES}, self._kinds)

    def __call__(self, buffer: Any, ends: Sequence[int], own: bool) -> Iterator[Match]:
        """The matches in a buffer of values that lie side by side: the i-th is at ends[i] to ends[i + 1].

        `own`: whether the project wrote the file.
        """
        rough, exact = self._own if own else self._data
        if not _contains(buffer, rough):
            return
        position = ends[0]
        candidates = re.compile(rough.encode())
        while found := candidates.search(buffer, position):
            index = bisect_right(ends, found.start()) - 1
            start, position = int(ends[index]), int(ends[index + 1])
            for match in exact.finditer(memoryview(buffer)[start:position]):
                kind, text = self._kinds[int(str(match.lastgroup)[1:])], match.group()
                placeholder = kind in TOKENS and len(set(text)) <= 8  # as hf_xxxxxxxx
                if not placeholder and text not in self._allow:
                    yield start + match.start(), kind, text


def _compile(forms: Mapping[str, str], kinds: Sequence[str]) -> tuple[str, re.Pattern[bytes]]:
    """The alternation for the linear-time engine, which cannot look behind or ahead, and for Python's."""
    parts = []
    for kind, form in forms.items():
        before = "" if kind in (YOURS, PLACE) else r"(?<![A-Za-z0-9])"
        after = r"(?![A-Za-z0-9_-])" if kind == PLACE else ""
        parts.append(f"{before}(?P<k{kinds.index(kind)}>{form}){after}")
    return "|".join(f"(?:{form})" for form in forms.values()), re.compile("|".join(parts).encode())


def _any(texts: Sequence[str]) -> str:
    return "|".join(re.escape(text) for text in sorted(texts, key=len, reverse=True))


def _spellings(texts: Sequence[str]) -> list[str]:
    """Each as it is, and as JSON writes it."""
    return [*{spelled for text in texts for spelled in (text, json.dumps(text)[1:-1])}]


def _is_specific(place: str) -> bool:
    return len([part for part in re.split(r"[\\/]+", place) if part]) > 1


def _contains(buffer: Any, form: str) -> bool:
    import pyarrow as pa
    import pyarrow.compute as pc

    data = pa.py_buffer(buffer)
    ends = pa.array([0, data.size], pa.int64()).buffers()[1]
    whole = pa.LargeBinaryArray.from_buffers(pa.large_binary(), 1, [None, ends, data])
    return bool(pc.match_substring_regex(whole, pattern=form)[0].as_py())


def _scan_file(path: Path, name: str, search: _Search) -> list[Finding]:
    """One Finding for each text in each column, however often it is there."""
    if not path.stat().st_size:
        return []
    own = not _DATA.fullmatch(path.name)
    if path.suffix == ".parquet":
        matches = _scan_parquet(path, name, search)
    elif path.suffix == ".safetensors":
        with path.open("rb") as file:
            header = file.read(int.from_bytes(file.read(8), "little"))
        matches = (("header", "", kind, text) for _, kind, text in search(header, (0, len(header)), own))
    else:
        matches = _scan_bytes(path, search, own)
    findings: dict[tuple[str, str, bytes], Finding] = {}
    for where, column, kind, text in matches:
        known = findings.get((column, kind, text))
        new = Finding(name, where, kind, _masked(kind, text))
        findings[column, kind, text] = replace(known, count=known.count + 1) if known else new
    return list(findings.values())


def _scan_bytes(path: Path, search: _Search, own: bool) -> Iterator[Located]:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        is_text = b"\0" not in content[:8192]
        line, seen = 1, 0
        for start, kind, text in list(search(content, (0, len(content)), own)):  # the map closes when none looks at it
            line, seen = line + content[seen:start].count(b"\n"), start
            yield (f"line {line}" if is_text else f"byte {start}"), "", kind, text


def _scan_parquet(path: Path, name: str, search: _Search) -> Iterator[Located]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            for key, value in (file.schema_arrow.metadata or {}).items():
                where = f"metadata {key.decode(errors='replace')}"
                yield from ((where, where, kind, text) for _, kind, text in search(value, (0, len(value)), True))
            size = sum(file.metadata.row_group(i).total_byte_size for i in range(file.num_row_groups))
            rows = max(1, _PARQUET_BATCH * file.metadata.num_rows // max(size, 1))
            before = 0
            for batch in file.iter_batches(rows):
                for column, values, row in _texts(batch):
                    for index, kind, text in _scan_values(values, search):
                        yield f"row {before + row(index) + 1}, column {column}", column, kind, text
                before += batch.num_rows
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{name}: cannot be read: {first_line(error)}; lay the repository out again") from error


def _scan_values(values: pa.Array, search: _Search) -> Iterator[Match]:
    """The matches in a large_binary array, with the index of their value."""
    import numpy as np

    _, offsets, data = values.buffers()
    if data is not None and len(values):
        ends = np.frombuffer(offsets, np.int64)[values.offset : values.offset + len(values) + 1]
        used = data.slice(int(ends[0]), int(ends[-1] - ends[0]))
        ends = ends - ends[0]
        for start, kind, text in search(used, ends, False):
            yield bisect_right(ends, start) - 1, kind, text


def _texts(batch: pa.RecordBatch) -> Iterator[tuple[str, pa.Array, Callable[[int], int]]]:
    """Each column of text, nested ones too, as large_binary, and a function from its indices to rows."""
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        yield from _leaves(name, column, lambda index: index)


def _leaves(
    name: str, values: pa.Array, row: Callable[[int], int]
) -> Iterator[tuple[str, pa.Array, Callable[[int], int]]]:
    import pyarrow as pa
    import pyarrow.types as types

    kind = values.type
    if isinstance(values, pa.ExtensionArray):
        yield from _leaves(name, values.storage, row)
    elif types.is_dictionary(kind):
        yield from _leaves(name, values.dictionary_decode(), row)
    elif types.is_struct(kind):
        for index, part in enumerate(values.flatten()):
            yield from _leaves(f"{name}.{kind.field(index).name}", part, row)
    elif types.is_map(kind):
        yield from _leaves(f"{name}.key", *_below(values.keys, values.offsets, row))
        yield from _leaves(f"{name}.value", *_below(values.items, values.offsets, row))
    elif types.is_fixed_size_list(kind):
        own = values.values.slice(values.offset * kind.list_size, len(values) * kind.list_size)
        yield from _leaves(name, own, lambda index: row(index // kind.list_size))
    elif types.is_list(kind) or types.is_large_list(kind):
        yield from _leaves(name, *_below(values.values, values.offsets, row))
    elif (
        types.is_string(kind)
        or types.is_binary(kind)
        or types.is_large_string(kind)
        or types.is_large_binary(kind)
        or types.is_string_view(kind)
        or types.is_binary_view(kind)
    ):
        yield name, values.cast(pa.large_binary()), row


def _below(values: pa.Array, offsets: pa.Array, row: Callable[[int], int]) -> tuple[pa.Array, Callable[[int], int]]:
    """What the lists with these offsets hold of `values`, which other batches may share, and the rows of the lists."""
    starts = offsets.to_numpy()
    used = values.slice(starts[0], starts[-1] - starts[0])
    return used, lambda index: row(bisect_right(starts, index + starts[0]) - 1)


def _masked(kind: str, text: bytes) -> str:
    shown = text.decode(errors="replace")
    if kind in (PLACE, HOME):
        return shown
    return f"{shown[: min(4, len(shown) // 4)]}… ({len(shown)} characters)"
