r"""Split a response into steps, losslessly: `"".join(split(text, separator)) == text`, always.

A separator is one of
- a literal string, such as the paper's `".\n"` (appendix B.2);
- `paragraph`: a blank line;
- `line`: a line's end;
- `sentence`: the end of a sentence, see `SENTENCE`;
- `re:PATTERN`: a regular expression; a step ends where a match ends.

Pure Python: it travels with published models.
"""

from __future__ import annotations

import re
from functools import lru_cache

DEFAULT_SEPARATOR = ".\n"

# Words whose period does not end a sentence. Fixed-width, as a look-behind must be.
_ABBREVIATIONS = (
    "Mr Mrs Ms Dr Prof Sr Jr St vs etc e.g i.e cf al approx No Fig Eq Sec Ch Vol pp Inc Ltd Co Corp "
    "Jan Feb Mar Apr Jun Jul Aug Sep Sept Oct Nov Dec U.S U.K a.m p.m"
).split()
_NOT_AFTER = "".join(rf"(?<!\b{re.escape(word)}\.)" for word in _ABBREVIATIONS)

#: The end of a sentence, by alternatives:
#: 1. a fenced code block, taken whole (no step ends inside it);
#: 2. CJK punctuation, with closing brackets or quotes (no space need follow);
#: 3. `.`, `!`, `?` or an ellipsis, with closing marks, before white space; but not after an abbreviation,
#:    a single capital (an initial, an option letter) or a list number at a line's start;
#: 4. a line's end, unless the next line goes on in lower case (hard-wrapped text).
SENTENCE = (
    r"```.*?(?:```[^\n]*(?:\n|$)|\Z)"
    r"|[。！？]+[」』”’）】]*\s*"
    r"|(?:[.!?]+|…)" + _NOT_AFTER + r"(?<!\b[A-Z]\.)(?<!^\d\.)(?<!^\d\d\.)(?<!\n\d\.)(?<!\n\d\d\.)"
    r"[\"'”’)\]*_]*(?:\s+|$)"
    r"|\n(?![a-z])\s*"
)
_NAMED = {"paragraph": r"\n[^\S\n]*\n\s*", "line": r"\n+", "sentence": SENTENCE}


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
    return re.compile(re.escape(separator))


def split(text: str, separator: str = DEFAULT_SEPARATOR) -> list[str]:
    """The steps of `text`, each with the separator that ends it.

    Joined, they are `text` again, character for character. No step is only white space (it is kept
    with the step before, or after where it stands first); a text of white space alone has no steps
    if it is empty, else one. Raises ValueError for a separator that cannot be read.
    """
    ends = [match.end() for match in _pattern(separator).finditer(text) if match.end() > match.start()]
    steps: list[str] = []
    leading, start = "", 0
    for end in [*ends, len(text)]:
        piece, start = leading + text[start:end], end
        leading = ""
        if not piece.strip():
            if steps:
                steps[-1] += piece
            else:
                leading = piece
        else:
            steps.append(piece)
    return [*steps, leading] if leading else steps
