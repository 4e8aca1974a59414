"""The 25 kinds of verifiable instructions of IFEval (Zhou et al., 2023, https://arxiv.org/abs/2311.07911), by rule.

A kind is a function of the response and the instruction's arguments, named as in the dataset's `kwargs`. Written from
the paper's descriptions and the dataset's prompts; where this differs from the authors' checker:

- sentences are those of `openprm.scoring.steps.SENTENCE` (theirs: NLTK's Punkt model), so a heading or a list's item
  without a period counts as one;
- a paragraph between blank lines may have white space in those (theirs: two line ends exactly), and a highlighted
  section, a title or a bullet begins with a character (theirs: some white space or an asterisk will do, too);
- words are letters and digits, with the hyphens and apostrophes inside them (theirs splits at those);
- a keyword, frequent or not, is a whole word or phrase with any ending ("story" is in "storyteller", not in
  "history"; theirs: any substring). A forbidden word is a whole word, as theirs;
- the language of a text in capitals is that of the text in lower case (theirs takes such a text for English unseen),
  and a text whose language cannot be told (digits only) is in none (theirs: in any).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import cache
from typing import Any, Literal

from ..errors import Failure, InputError
from ..scoring.steps import split

Relation = Literal["at least", "less than"]

_WORD = re.compile(r"\w+(?:['’\-]\w+)*")


def _holds(count: int, relation: Relation, bound: int) -> bool:
    return count >= bound if relation == "at least" else count < bound


def _occurrences(keyword: str, text: str) -> int:
    return len(re.findall(rf"(?<!\w){re.escape(keyword)}", text, re.IGNORECASE))


def _words(text: str) -> list[str]:
    return _WORD.findall(text)


def _paragraphs(text: str, separator: str) -> list[str]:
    """The parts between separators, without empty ones at the ends."""
    parts = [part.strip() for part in re.split(separator, text)]
    return parts[(not parts[0]) : len(parts) - (len(parts) > 1 and not parts[-1])]


def existence(text: str, keywords: list[str]) -> bool:
    return all(_occurrences(keyword, text) for keyword in keywords)


def frequency(text: str, keyword: str, frequency: int, relation: Relation) -> bool:
    return _holds(_occurrences(keyword, text), relation, frequency)


def forbidden_words(text: str, forbidden_words: list[str]) -> bool:
    return not any(re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text, re.IGNORECASE) for word in forbidden_words)


def letter_frequency(text: str, letter: str, let_frequency: int, let_relation: Relation) -> bool:
    return _holds(text.casefold().count(letter.casefold()), let_relation, let_frequency)


def response_language(text: str, language: str) -> bool:
    if language not in load_languages().get_lang_list():
        raise Failure(f"langdetect does not know the language {language!r}", "name one that it does, such as 'en'")
    return language_of(text) == language


def language_of(text: str) -> str | None:
    """The ISO 639-1 code of the language that `text` is most likely in, the same every time; None without letters.

    Raises InputError where the extra `instructions` is missing.
    """
    from langdetect import LangDetectException

    detector = load_languages().create()
    detector.append(text.lower() if text.isupper() else text)
    try:
        return detector.detect()
    except LangDetectException:
        return None


@cache
def load_languages() -> Any:
    """langdetect's profiles, once a process. Raises InputError where the extra `instructions` is missing."""
    try:
        from langdetect.detector_factory import PROFILES_DIRECTORY, DetectorFactory
    except ImportError as error:
        raise InputError("instructions on language need the extra: pip install 'openprm[instructions]'") from error
    factory = DetectorFactory()  # one of our own: the seed of langdetect's is left to the caller
    factory.load_profile(PROFILES_DIRECTORY)
    factory.set_seed(0)
    return factory


def number_words(text: str, num_words: int, relation: Relation) -> bool:
    return _holds(len(_words(text)), relation, num_words)


def number_sentences(text: str, num_sentences: int, relation: Relation) -> bool:
    return _holds(sum(1 for sentence in split(text, "sentence") if _words(sentence)), relation, num_sentences)


def number_paragraphs(text: str, num_paragraphs: int) -> bool:
    """Separated by `***`; none empty."""
    paragraphs = _paragraphs(text, r"(?<!\*)\*\*\*(?!\*)")
    return len(paragraphs) == num_paragraphs and all(paragraphs)


def nth_paragraph_first_word(text: str, num_paragraphs: int, nth_paragraph: int, first_word: str) -> bool:
    """Separated by a blank line; `nth_paragraph` counts from 1."""
    paragraphs = [paragraph for paragraph in re.split(r"\n\s*\n", text) if paragraph.strip()]
    if len(paragraphs) != num_paragraphs or not 1 <= nth_paragraph <= num_paragraphs:
        return False
    words = _words(paragraphs[nth_paragraph - 1])
    return bool(words) and words[0].casefold() == first_word.casefold()


def number_placeholders(text: str, num_placeholders: int) -> bool:
    return len(re.findall(r"\[[^\[\]]+\]", text)) >= num_placeholders


def postscript(text: str, postscript_marker: str) -> bool:
    """At the start of a line: `P.S.` or `P.P.S`, with or without spaces and the last period."""
    letters = r"\s?\.?\s?".join(re.escape(letter) for letter in postscript_marker.replace(".", "").replace(" ", ""))
    return re.search(rf"^[ \t\"*_]*{letters}(?!\w)", text, re.MULTILINE | re.IGNORECASE) is not None


def number_bullet_lists(text: str, num_bullets: int) -> bool:
    return len(re.findall(r"^[ \t]*[*-][ \t]+\S", text, re.MULTILINE)) == num_bullets


def constrained_response(text: str) -> bool:
    return any(f"My answer is {answer}." in text for answer in ("yes", "no", "maybe"))


def number_highlighted_sections(text: str, num_highlights: int) -> bool:
    """`*...*` or `**...**` within a line."""
    highlights = re.findall(r"\*\*[^\s*](?:[^\n*]*[^\s*])?\*\*|(?<!\*)\*[^\s*](?:[^\n*]*[^\s*])?\*(?!\*)", text)
    return len(highlights) >= num_highlights


def multiple_sections(text: str, section_spliter: str, num_sections: int) -> bool:
    """Each begun by the word and a number: `SECTION 1`."""
    return len(re.findall(rf"(?<!\w){re.escape(section_spliter.strip())}\s?\d+", text)) >= num_sections


def json_format(text: str) -> bool:
    """The whole response, in a Markdown fence or bare."""
    fenced = re.fullmatch(r"```(?:json)?\s*\n?(.*?)```", text.strip(), re.DOTALL | re.IGNORECASE)
    try:
        json.loads(fenced[1] if fenced else text)
    except (ValueError, RecursionError):
        return False
    return True


def title(text: str) -> bool:
    return any(found.strip() for found in re.findall(r"<<([^\n<>]+)>>", text))


def two_responses(text: str) -> bool:
    """Two different ones, with six asterisks between."""
    parts = _paragraphs(text, re.escape("******"))
    return len(parts) == 2 and all(parts) and parts[0] != parts[1]


def repeat_prompt(text: str, prompt_to_repeat: str) -> bool:
    return text.strip().casefold().startswith(prompt_to_repeat.strip().casefold())


def end_checker(text: str, end_phrase: str) -> bool:
    return text.strip().rstrip('"').rstrip().casefold().endswith(end_phrase.strip().casefold())


def quotation(text: str) -> bool:
    stripped = text.strip()
    return len(stripped) > 1 and stripped[0] == stripped[-1] == '"'


def capital_word_frequency(text: str, capital_frequency: int, capital_relation: Relation) -> bool:
    return _holds(sum(1 for word in _words(text) if word.isupper()), capital_relation, capital_frequency)


def english_capital(text: str) -> bool:
    return text.isupper() and language_of(text) == "en"


def english_lowercase(text: str) -> bool:
    return text.islower() and language_of(text) == "en"


def no_comma(text: str) -> bool:
    return "," not in text


_GROUPS: dict[str, tuple[Callable[..., bool], ...]] = {
    "change_case": (capital_word_frequency, english_capital, english_lowercase),
    "combination": (repeat_prompt, two_responses),
    "detectable_content": (number_placeholders, postscript),
    "detectable_format": (
        *(constrained_response, json_format, multiple_sections),
        *(number_bullet_lists, number_highlighted_sections, title),
    ),
    "keywords": (existence, forbidden_words, frequency, letter_frequency),
    "language": (response_language,),
    "length_constraints": (nth_paragraph_first_word, number_paragraphs, number_sentences, number_words),
    "punctuation": (no_comma,),
    "startend": (end_checker, quotation),
}
#: Checks by the dataset's ids, such as `keywords:existence`.
KINDS = {f"{group}:{check.__name__}": check for group, checks in _GROUPS.items() for check in checks}
