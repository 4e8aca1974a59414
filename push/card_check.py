"""What is wrong with a card, whether a template or a person wrote it.

Every number in a card must come from the publication manifest: as it is, rounded to the digits that are shown, or as a
percentage. What is in code fences, links and names (`Llama-3.1-8B`, but not a `7B` by itself) is no such number, nor
is what our own templates say whatever the manifest.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator, Mapping
from decimal import Decimal, InvalidOperation
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from openprm.runs.dataset_card import shown
from openprm.runs.licenses import notices

from .links import missing_targets

Manifest = Mapping[str, Any]

_UNFILLED = re.compile(r"\{\{|\}\}|\{%|%\}|\bTODO\b|\bpath/to\b|\[More Information Needed\]")
_EXAMPLE = re.compile(r'\s*("question": |"response": |chat = )')  # in code: texts of others, that say what they say
_NOTHING = {"none", "nan", "null", "undefined"}
_FENCE = re.compile(r"^\s*(```|~~~)")
_LINK = re.compile(r"(?<=\])\([^)]*\)|<https?://[^>]*>|https?://\S+")
# a sign only where nothing stands before it: `3-4` is a range
_NUMBER = re.compile(
    r"(?<![\w.])(?P<sign>(?<!\S)[-+−])?(?P<digits>\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)"
    r"(?P<unit>[kKMB]\b|[x×]\b|\s?%)?(?![\w.]*\w)"
)
# begins with a letter: `meta-llama/Llama-3.1-8B`, `runs/2`, `torch-2.13`
_NAME = re.compile(r"(?<![\w.])[A-Za-z]\w*(?:[-./+@][\w]+)+")
_UNITS = {"k": 1_000, "K": 1_000, "M": 1_000_000, "B": 1_000_000_000}
_HASH = re.compile(r"[0-9a-f]{32,}")


def check_card(text: str, publication: Manifest, files: Collection[str] | None = None) -> list[str]:
    """What is wrong with a card, a line of words each with the card's line; none where it may be published.

    files: all that the repository holds, by path. Links and pictures are checked only where it is given.
    """
    header, body, first = _parts(text)
    if header is None:
        return ["line 1: the card does not begin with YAML between two lines of ---"]
    try:
        data = yaml.safe_load(header)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 2 if mark else 2  # below the first ---, and counted from 1
        return [f"line {line}: the YAML cannot be read: {getattr(error, 'problem', None) or error}"]
    if not isinstance(data, dict):
        return ["line 2: the YAML is no mapping of names to values"]
    problems = [*_license(data, header, publication), *_unfilled(text, publication)]
    problems += [*_results(data, header, publication), *_sizes(data, header, publication)]
    problems += _body(body, first, publication)
    if files is not None:
        problems += _links(body, first, files)
    return problems


def check_eval_results(text: str, publication: Manifest) -> list[str]:
    """What is wrong with a file of `.eval_results`: YAML that cannot be read, and values that no manifest has."""
    try:
        entries = yaml.safe_load(text)
        values = [entry["value"] for entry in entries]
    except (yaml.YAMLError, TypeError, KeyError) as error:
        return [f"the file is no list of results with a value each: {error}"]
    known = _Known(publication)
    return [f"value {value}: no manifest has it" for value in values if not known.has_value(value)]


def _parts(text: str) -> tuple[str | None, str, int]:
    """The YAML, the rest, and the line that the rest begins at."""
    match = re.match(r"---\n(.*?\n)---(?:\n|$)", text, re.DOTALL)
    if not match:
        return None, text, 1
    return match[1], text[match.end() :], text.count("\n", 0, match.end()) + 1


def _license(data: Manifest, header: str, publication: Manifest) -> Iterator[str]:
    expected = publication.get("license")
    if not expected:
        yield "the publication manifest has no license"
    license = data.get("license")
    if license == "other":
        license = data.get("license_name")
    if not license:
        yield "line 2: the YAML has no license"
    elif expected and license != expected:
        yield f"line {_line_of(header, 'license')}: the license is {license}, and the manifest has {expected}"


def _line_of(header: str, start: str) -> int:
    """The line of the card on which something in its YAML begins."""
    return 2 + next((index for index, line in enumerate(header.splitlines()) if line.strip().startswith(start)), 0)


def _unfilled(text: str, publication: Manifest) -> Iterator[str]:
    said = {value for value in _walk(publication) if isinstance(value, str)}
    # a chat template, a source called `TODO`: the longest first, as one may be in another
    fields = sorted({form for value in said for form in _forms(value) if _UNFILLED.search(form)}, key=len)[::-1]
    in_fence = False
    for number, line in enumerate(text.split("\n"), 1):  # only that ends a line of Markdown
        in_fence ^= bool(_FENCE.match(line))
        rest = "" if in_fence and _EXAMPLE.match(line) else line
        for field in fields:
            rest = rest.replace(field, "")
        found = _UNFILLED.search(rest)
        # chat templates and dictionaries of dictionaries have braces of their own in code
        if found and not (in_fence and found[0] in ("{{", "}}", "{%", "%}")):
            yield f"line {number}: a field is not filled: {found[0]}"
        cells = line.strip().strip("|").split("|") if line.lstrip().startswith("|") and not in_fence else ()
        for cell in cells:
            word = cell.strip(" `")
            if word.lower() in _NOTHING and word not in said:  # `none` is an option's value, too
                yield f"line {number}: a cell says {cell.strip()}"


def _results(data: Manifest, header: str, publication: Manifest) -> Iterator[str]:
    known = _Known(publication)
    for model in data.get("model-index") or ():
        for result in model.get("results") or ():
            for metric in result.get("metrics") or ():
                if not known.has_value(metric.get("value")):
                    line = _line_of(header, f"value: {metric.get('value')}")
                    yield f"line {line}: the model-index has {metric.get('value')}, which no manifest has"
                for token, value in _numbers(_strip_fixed(str(metric.get("name", "")))):
                    if not known.has(value):
                        yield f"line {_line_of(header, 'model-index')}: {token} in a metric's name: no manifest has it"


def _sizes(data: Manifest, header: str, publication: Manifest) -> Iterator[str]:
    known = _Known(publication)
    infos = data.get("dataset_info") or ()
    for info in [infos] if isinstance(infos, Mapping) else infos:
        for split in info.get("splits") or ():
            if not known.has_value(rows := split.get("num_examples")):
                yield f"line {_line_of(header, f'num_examples: {rows}')}: {rows} rows: no manifest has this number"


def _body(body: str, first: int, publication: Manifest) -> Iterator[str]:
    known = _Known(publication)
    for number, line in _outside_fences(body, first):
        for token, value in _numbers(known.without_texts(_strip_fixed(_LINK.sub("", line)))):
            if not known.has(value):
                yield f"line {number}: {token}: no manifest has this number"


def _links(body: str, first: int, files: Collection[str]) -> Iterator[str]:
    for number, line in _outside_fences(body, first):
        for target in missing_targets(line, files):
            yield f"line {number}: {target}: the repository has no such file"


def _outside_fences(body: str, first: int) -> Iterator[tuple[int, str]]:
    in_fence = False
    for number, line in enumerate(body.split("\n"), first):
        if _FENCE.match(line):
            in_fence = not in_fence
        elif not in_fence:
            yield number, line


class _Number:
    """A number as it is shown: what lies within half of its last digit is shown so too."""

    def __init__(self, digits: str, unit: str = "", sign: str = ""):
        scale = Decimal("0.01") if unit.strip() == "%" else Decimal(_UNITS.get(unit, 1))
        value = Decimal(digits.replace(",", ""))
        self.value = value * scale
        self.half = Decimal(1).scaleb(int(value.as_tuple().exponent)) / 2 * scale
        self.whole = digits.replace(",", "").isdigit() and scale == 1
        self.sign = sign

    def shows(self, number: float) -> bool:
        if (self.sign == "+" and number < 0) or (self.sign in ("-", "−") and number > 0):
            return False
        if self.whole:  # it counts something: nothing near it will do
            return abs(number) == int(self.value)
        # a little more than half: 0.0005 is stored a little off
        return abs(abs(Decimal(str(number))) - self.value) <= self.half * Decimal("1.000001")


def _numbers(line: str) -> Iterator[tuple[str, _Number]]:
    for match in _NUMBER.finditer(_NAME.sub(" ", line)):
        yield match[0].strip(), _Number(match["digits"], match["unit"] or "", match["sign"] or "")


class _Known:
    """The numbers and texts of a manifest, at any depth, keys too; not its hashes, and not the files' names."""

    def __init__(self, publication: Manifest):
        self.numbers: set[float] = set()
        texts: set[str] = set()
        for value in _walk({key: value for key, value in publication.items() if key != "files"}):
            if isinstance(value, str):
                if not _HASH.fullmatch(value):
                    texts.add(value)
            else:
                self.numbers.add(value)
        for text in texts:
            try:
                number = float(text)
            except ValueError:
                continue
            if math.isfinite(number):
                self.numbers.add(number)
        # the longest first: one may begin with another
        texts.update(notices(publication.get("origins", ())))  # which follow from the manifest
        named = sorted((text for text in texts if _mixed(text)), key=len, reverse=True)
        escaped = [re.escape(form) for text in named for form in _forms(text)]
        self._texts = re.compile("|".join(rf"(?<!\w){text}(?!\w)" for text in escaped)) if escaped else None

    def has(self, shown: _Number) -> bool:
        return any(shown.shows(number) for number in self.numbers)

    def has_value(self, value: Any) -> bool:
        """Whether a value that nobody rounded is there."""
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return False
        return value in self.numbers or self.has(_Number(repr(abs(value)), sign="-" if value < 0 else "+"))

    def without_texts(self, line: str) -> str:
        """The line without what the manifest says itself, such as `best of 16: orm/min` or a version."""
        return self._texts.sub(" ", line) if self._texts else line


def _walk(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield str(key)
            yield from _walk(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _walk(item)
    elif isinstance(value, (str, int, float)) and not isinstance(value, bool):
        yield value


def _mixed(text: str) -> bool:
    """Whether it has digits and is more than a number."""
    if not re.search(r"\d", text):
        return False
    try:
        Decimal(text)
    except InvalidOperation:
        return True
    return False


def _forms(text: str) -> set[str]:
    """As it is, and as a table shows it."""
    return {text, text.replace("_", " "), shown(text)[1:-1]}


def _strip_fixed(line: str) -> str:
    for words in _fixed_words():
        line = line.replace(words, " ")
    return line


@cache
def _fixed_words() -> tuple[str, ...]:
    """What our templates say with digits in it, whatever the manifest; and our own words for an interval."""
    from .cards import INTERVAL

    sources = [path.read_text("utf-8") for path in files("openprm.cards").iterdir() if path.name.endswith(".j2")]
    pieces = {
        piece.strip()
        for source in sources
        for line in source.splitlines()
        for piece in re.split(r"\{\{.*?\}\}|\{%.*?%\}", line)
    }
    return tuple(sorted((piece for piece in {*pieces, INTERVAL} if re.search(r"\d\W*\w{2}", piece)), key=len))[::-1]
