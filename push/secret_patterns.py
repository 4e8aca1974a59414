"""What secrets and local paths look like, and where they stand in a buffer.

Secrets are tokens of well-known forms, which cannot be mistaken for text, and the very tokens of whoever publishes.
A quick pass of a linear-time engine says whether a buffer has anything; Python's, with more means, says what.
"""

from __future__ import annotations

import html
import json
import re
import urllib.parse
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

#: Before a form: no letter or digit, but for those of an escape (\\n, \\x0a, \\u003c, %3D).
_ALONE = r"(?:(?<![A-Za-z0-9])|(?<=\\[nrtbfv])|(?<=\\x[0-9a-fA-F]{2})|(?<=\\u[0-9a-fA-F]{4})|(?<=%[0-9A-Fa-f]{2}))"
#: Before a path: nor anything that makes it the end of a relative one or of an address.
_ABSOLUTE = _ALONE + r"(?<![._~)}\]-])(?<!:/)"


class _Form(NamedTuple):
    """A regular expression, with the text between which it stands (`mark`, `end`), or what looks around it."""

    form: str
    before: str = _ALONE
    after: str = ""
    mark: str = ""
    end: str = ""

    @property
    def exact(self) -> str:
        before = f"(?<={self.mark})" if self.mark else self.before
        after = f"(?={self.end})" if self.end else self.after
        return f"{before}(?:{self.form}){after}"

    @property
    def rough(self) -> str:
        """For an engine that cannot look behind or ahead."""
        return f"{self.mark}(?:{self.form}){self.end}"


_BEARER = "Bearer token"
_KNOWN = {
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
#: Forms of tokens, by who gives them out. Each begins with its own mark and has a length that no word has.
TOKENS = {
    **{kind: _Form(form) for kind, form in _KNOWN.items()},
    _BEARER: _Form(r"[A-Za-z0-9._~+/-]{20,}", mark="[Bb]earer "),
}
YOURS, PLACE = "token of yours", "place on this machine"
CREDENTIALS, LOCAL = "password in an address", "local path"

# no braces or angles: {user}:{password} is to be filled in
_CREDENTIALS = _Form(r"""[^\s/:@\\"'<>(){}|`]*:[^\s/@\\"<>{}|`]+""", mark="://", end=r"@[A-Za-z0-9\[]")
_LOCAL = r"/(?:home|Users|root|mnt|media|scratch|srv|tmp)/[A-Za-z0-9._-]+|[A-Za-z]:[\\/]+Users[\\/]+[A-Za-z0-9._-]+"
#: Characters of a secret of yours; a shorter one would be found everywhere.
SHORTEST = 8


class Match(NamedTuple):
    """`start` is an offset in bytes."""

    start: int
    kind: str
    text: bytes


class Search:
    """`secrets`, `places` and `allow` as in `openprm.push.secret_scan.scan`."""

    def __init__(self, secrets: Sequence[str], places: Sequence[str], allow: Sequence[str]):
        self._allow = {text.encode() for text in allow}
        folders = [place.rstrip("/\\") for place in places]
        specific = [folder for folder in folders if _depth(folder) > 1]
        general = [_any([folder]) + r"[\\/]+[A-Za-z0-9._-]+" for folder in folders if _depth(folder) == 1]
        spelled = {
            YOURS: _Form(_any([secret for secret in secrets if len(secret) >= SHORTEST]), before=""),
            PLACE: _Form(_any(specific), before="", after=r"(?![A-Za-z0-9_-])"),
        }
        in_data = {**TOKENS, **{kind: form for kind, form in spelled.items() if form.form}, CREDENTIALS: _CREDENTIALS}
        in_own = {**in_data, LOCAL: _Form("|".join([_LOCAL, *general]), before=_ABSOLUTE)}
        self._kinds = [*in_own]
        self._data, self._own = _compile(in_data), _compile(in_own)

    def __call__(self, buffer: Any, ends: Sequence[int], own: bool) -> Iterator[Match]:
        """The matches in a buffer of values that lie side by side: the i-th is at ends[i] to ends[i + 1].

        `own`: whether the project wrote the file: it then names no local path at all, and no password.
        """
        rough, exact = self._own if own else self._data
        if not _contains(buffer, rough):
            return
        position = ends[0]
        candidates = re.compile(rough.encode())
        while found := candidates.search(buffer, position):
            index = bisect_right(ends, found.start()) - 1
            start, position = int(ends[index]), int(ends[index + 1])
            for match in self._matches(bytes(memoryview(buffer)[start:position]), exact, own):
                yield match._replace(start=start + match.start)

    def text(self, text: str | bytes) -> list[Match]:
        """The matches in a short text of the project's own."""
        content = text.encode() if isinstance(text, str) else text
        return list(self._matches(content, self._own[1], True))

    def hidden(self, text: str) -> str:
        """A text of the project's own with its secrets masked."""
        content = text.encode()
        for match in reversed(self.text(text)):
            end = match.start + len(match.text)
            content = content[: match.start] + masked(match).encode() + content[end:]
        return content.decode(errors="replace")

    def _matches(self, value: bytes, exact: re.Pattern[bytes], own: bool) -> Iterator[Match]:
        position = 0
        while found := exact.search(value, position):
            match = Match(found.start(), self._kinds[int(str(found.lastgroup)[1:])], found.group())
            real = _is_real(match, own)
            # what is none may begin before one that is
            position = found.end() if real else found.start() + 1
            if real and match.text not in self._allow:
                yield match


def masked(match: Match) -> str:
    """What of a match may be shown: all of a path, little of a secret."""
    shown = match.text.decode(errors="replace")
    if match.kind in (PLACE, LOCAL):
        return shown
    return f"{shown[: min(4, len(shown) // 4)]}… ({len(shown)} characters)"


def _is_real(match: Match, own: bool) -> bool:
    """Whether it stands for itself, and not, like hf_xxxxxxxx or user:password, for what others have."""
    if match.kind == CREDENTIALS:
        password = match.text.partition(b":")[2]
        return own or (len(password) >= SHORTEST and _is_mixed(password))
    if match.kind == _BEARER:
        return _is_mixed(match.text) and len(set(match.text)) > 8 and not match.text.startswith(b"eyJ")
    return match.kind not in TOKENS or len(set(match.text)) > 8


def _is_mixed(text: bytes) -> bool:
    return bool(re.search(rb"[0-9]", text) and re.search(rb"[A-Za-z]", text))


def _compile(forms: dict[str, _Form]) -> tuple[str, re.Pattern[bytes]]:
    """The alternation for the linear-time engine, and for Python's, where the group k<i> is the i-th kind."""
    exact = "|".join(f"(?P<k{index}>{form.exact})" for index, form in enumerate(forms.values()))
    return "|".join(form.rough for form in forms.values()), re.compile(exact.encode())


def _any(texts: Sequence[str]) -> str:
    return "|".join("".join(map(_spelled, text)) for text in sorted(texts, key=len, reverse=True))


def _spelled(character: str) -> str:
    """A character as it is, and as JSON, a page and an address write it."""
    if character.isascii() and character.isalnum():
        return character
    code = ord(character)
    spellings = {
        character,
        json.dumps(character)[1:-1],
        html.escape(character),
        urllib.parse.quote(character, safe=""),
    }
    escaped = [re.escape(spelling) for spelling in (*spellings, f"\\{character}")]
    return f"(?:{'|'.join(escaped)}|(?i:&#(?:{code}|x{code:x});|%{code:02x}|\\\\u{code:04x}))"


def _depth(place: str) -> int:
    return len([part for part in re.split(r"[\\/]+", place) if part])


def _contains(buffer: Any, form: str) -> bool:
    import pyarrow as pa
    import pyarrow.compute as pc

    data = pa.py_buffer(buffer)
    ends = pa.array([0, data.size], pa.int64()).buffers()[1]
    whole = pa.LargeBinaryArray.from_buffers(pa.large_binary(), 1, [None, ends, data])
    return bool(pc.match_substring_regex(whole, pattern=form)[0].as_py())
