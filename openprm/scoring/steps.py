r"""Split a response into steps, losslessly: `"".join(split(text, separator)) == text`, always.

A separator is one of
- a literal string, such as the paper's `".\n"` (appendix B.2);
- `paragraph`: a blank line;
- `line`: the end of a line;
- `sentence`: the end of a sentence, see `SENTENCE`;
- `re:PATTERN`: a regular expression; a step ends where a match ends.

A word that is nearly one of these names (`lines`, `newline`) is taken for a slip, not for a text.
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from functools import lru_cache
from itertools import pairwise

DEFAULT_SEPARATOR = ".\n"

# Words whose period does not end a sentence, as look-behinds of fixed width.
_ABBREVIATIONS = (
    "Mr Mrs Ms Dr Prof Sr Jr St vs etc e.g i.e cf al approx No Fig Eq Sec Ch Vol pp Inc Ltd Co Corp "
    "Jan Feb Mar Apr Jun Jul Aug Sep Sept Oct Nov Dec U.S U.K a.m p.m"
).split()
_NOT_AFTER = "".join(rf"(?<!\b{re.escape(word)}\.)" for word in _ABBREVIATIONS)

#: The end of a sentence:
#: 1. a whole fenced code block (no step ends inside it);
#: 2. CJK punctuation, with closing brackets or quotes (even without a space after it);
#: 3. `.`, `!`, `?` or an ellipsis, with closing marks, before white space; but not after an abbreviation, a single
#:    capital letter (an initial, an option) or a list number at the start of a line;
#: 4. the end of a line, unless the next line starts in lower case (hard-wrapped text).
SENTENCE = (
    r"```.*?(?:```[^\n]*(?:\n|$)|\Z)"
    r"|[。！？]+[」』”’）】]*\s*"
    r"|(?:(?<![.!?])[.!?]+(?![.!?])|…)" + _NOT_AFTER + r"(?<!\b[A-Z]\.)(?<!^\d\.)(?<!^\d\d\.)(?<!\n\d\.)(?<!\n\d\d\.)"
    r"[\"'”’)\]*_]*(?:\s+|$)"
    r"|\n(?![a-z])\s*"
)
_NAMED = {"paragraph": r"\n[^\S\n]*\n\s*", "line": r"\n+", "sentence": SENTENCE}
_NEARLY = {**{name: name for name in _NAMED}, "newline": "line", "linebreak": "line"}


@lru_cache(maxsize=64)
def _pattern(separator: str) -> re.Pattern[str]:
    if separator in _NAMED:
        return re.compile(_NAMED[separator], re.DOTALL)
    if separator.startswith("re:"):
        try:
            return re.compile(separator[3:])
        except re.error as error:
            raise ValueError(f"separator {separator!r} is not a regular expression: {error}") from error
    if not separator:
        raise ValueError("the separator is empty; use one of paragraph, line, sentence, a string or re:PATTERN")
    word = re.sub("[ _-]", "", separator).lower()
    if separator[0].isalpha() and word.isalpha() and (near := get_close_matches(word, _NEARLY, n=1, cutoff=0.75)):
        name, word = _NEARLY[near[0]], re.escape(separator)
        raise ValueError(f"separator {separator!r}: did you mean {name}? For steps that end at this word: re:{word}")
    return re.compile(re.escape(separator))


def split(text: str, separator: str = DEFAULT_SEPARATOR) -> list[str]:
    """The steps of `text`, each with the separator that ends it.

    Joined, they are `text` again, character for character. White space does not make a step: it belongs to the step
    before it, or at the start to the first one. (A text of white space alone is one step, an empty text none.)
    Raises ValueError for a separator that cannot be read.
    """
    ends = [match.end() for match in _pattern(separator).finditer(text) if match.end() > match.start()]
    starts = [start for start, end in pairwise([0, *ends, len(text)]) if text[start:end].strip()]
    return [text[start:end] for start, end in pairwise([0, *starts[1:], len(text)]) if end]
