"""The links and pictures of a card that lead to a file of its own repository."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Iterator
from urllib.parse import unquote

from openprm.runs.folder import MANIFEST

CARD = "README.md"

_CODE = re.compile(r"(`+).*?\1")
_TARGET = re.compile(
    r"\]\(\s*(?P<inline><[^>]*>|[^)\s]*)"
    r"|^ {0,3}\[[^\]]+\]:\s*(?P<reference><[^>]*>|\S+)"
    r"|<\w[^>]*?\s(?:src|href)\s*=\s*(?P<tag>\"[^\"]*\"|'[^']*'|[^\s>]+)"
)
_ELSEWHERE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:|/")  # a URL, or a path from the root of the site


def missing_targets(line: str, files: Collection[str]) -> Iterator[str]:
    """The relative targets in a line of Markdown (which is not in a fence) that are none of a repository's files, nor
    a folder of some; its card and its manifest are always there.
    """
    there = {*files, CARD, MANIFEST}
    for match in _TARGET.finditer(_CODE.sub("", line)):
        target = next(group for group in match.groups() if group is not None).strip("<>\"'")
        path = unquote(re.split("[?#]", target)[0])
        if path and not _ELSEWHERE.match(path):
            name = posixpath.normpath(path)
            if name != "." and name not in there and not any(file.startswith(f"{name}/") for file in there):
                yield target
