r"""Outcome rewards of multiple-choice questions: 1 where a response states the golden option, else 0.

    question: "What do plants do with light?\nA. respiration\nB. photosynthesis"
    "... so the answer is (B)."  "The answer is photosynthesis."  ->  B

The options are the lines `A. ...`, `(A) ...` or `A) ...` of the last user message, from A on. An answer is an
option's letter or its text. Pure Python.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

from ..errors import Failure
from ..schema import Candidate, Message
from .base import RuleRewarder, reference_of
from .exact_answer import ANSWER_IS, normalize, own_statements

_OPTION = re.compile(r"^[ \t]*[(\[]?([A-Z])[.)\]:](?:[ \t]+(.*?))?[ \t]*$", re.MULTILINE)

# What may stand around a letter: brackets, emphasis, `\boxed{\text{...}}`.
_BEFORE = r"(?:\\(?:boxed|text|textbf|mathbf|mathrm)\s*\{|[($\[*_\s\"'“])*"
_AFTER = r"[)}$\]*_\"'”]*"
_LETTER = re.compile(rf"(?i:options?\s+|choices?\s+)?{_BEFORE}([A-Z])(?![\w'’]){_AFTER}")
_ALSO = re.compile(r"\s*(?:,|/|&|(?:,\s*)?\b(?:and|or)\b)\s*(?:both\s+)?")
# Below "The answers are:", one option a line.
_NEXT_LINE = re.compile(rf"{_ALSO.pattern}|[^\n]*\n[ \t]*(?=[(\[]?[A-Z][.)\]:]\s)")

# Where an answer is stated, up to what is stated, by alternatives:
# 1. "the answer is", "Answer:", as in `exact_answer`;
# 2. "the answer that fits best is", "the correct option is": words without punctuation between;
# 3. a box.
_STATES = re.compile(
    rf"{ANSWER_IS}"
    r"|(?i:\b(?:answer|(?:correct|right|best)\s+(?:option|choice|statement))(?:[ \t]+[\w'’]+){0,8}?[ \t]+is\b)[\s*_:]*"
    r"|(?=\\boxed\s*\{)"
)
# "(B) is correct", with the letter's brackets or "option" before it.
_IS_CORRECT = re.compile(
    r"(?:\b(?i:option|choice)\s+[(*]*([A-Z])[)*]*|[(*]{1,3}([A-Z])[)*]{1,3})\s+is\s+(?:the\s+)?(?:most\s+)?(?:correct|right|best)\b"
)
_LINE = 1000  # characters that are read of a statement


def choice_rule(name: str = "choice") -> RuleRewarder:
    """Rewards by the option that a response states last, as a `Rewarder`.

    The reference is an option's letter or its text; another reference is a failure. A response that states no
    option, or two at once ("A or B"), gets 0 and the mark `unparsable`.
    """
    return RuleRewarder(name, _choice, {"rule": "multiple choice"})


def _choice(candidate: Candidate) -> float | None:
    reference, options = reference_of(candidate), options_of(candidate["question"])
    golden = golden_option(reference, options)
    if golden is None:
        raise Failure(
            f"the reference {reference!r} is neither an option's letter nor its text",
            'give the options as lines "A. ..." of the question, and one of them as the reference',
        )
    stated = stated_option(candidate["response"], options)
    return None if stated is None else float(stated == golden)


@lru_cache(maxsize=256)
def read_options(question: str) -> Mapping[str, str]:
    """The options of a question, letter to text: its last run of lines that count on from A. Empty without any."""
    options: dict[str, str] = {}
    for letter, text in _OPTION.findall(question):
        if letter == "A":
            options = {}
        if ord(letter) == ord("A") + len(options):
            options[letter] = text
    return options


def options_of(question: Sequence[Message]) -> Mapping[str, str]:
    """The options that the last user message shows."""
    asked = [turn["content"] for turn in question if turn["role"] == "user"]
    return read_options(asked[-1]) if asked else {}


def golden_option(reference: str, options: Mapping[str, str]) -> str | None:
    """The letter that `reference` means; None where it means none, or several options with one text.

    A single capital letter is itself where the question shows no options.
    """
    letter = normalize(reference)
    if letter in options or (not options and re.fullmatch("[A-Z]", letter)):
        return letter
    return _option_with_text(reference, options)


def _option_with_text(text: str, options: Mapping[str, str]) -> str | None:
    """The one option with this text, whatever its case, outer marks and final period."""
    same = [letter for letter, option in options.items() if normalize(option).casefold() == normalize(text).casefold()]
    return same[0] if len(same) == 1 else None


def stated_option(response: str, options: Mapping[str, str]) -> str | None:
    """The letter of the option that `response` states last; None where it states none, or several at once.

    A statement that names no option ("the answer is not among them") is passed over. Where no sentence states an
    answer, the whole response or its last sentence may, by a letter in brackets or a letter with its option's text.
    """
    matches = sorted([*_STATES.finditer(response), *_IS_CORRECT.finditer(response)], key=re.Match.start)
    named = {match: letters for match in matches if (letters := _named(match, options))}
    if not named:
        return _unannounced(response, options)
    letters = named[own_statements(list(named))[-1]]
    return letters.pop() if len(letters) == 1 else None


def _named(match: re.Match[str], options: Mapping[str, str]) -> set[str]:
    """The options that one statement names."""
    if match.re is _IS_CORRECT:
        letter = match[1] or match[2]
        return {letter} if not options or letter in options else set()
    joint = _NEXT_LINE if "\n" in match[0] else _ALSO
    return _leading(match.string[match.end() : match.end() + _LINE], options, joint)


def _leading(said: str, options: Mapping[str, str], joint: re.Pattern[str]) -> set[str]:
    """The options that a text begins with: several where `joint` joins them."""
    letters: set[str] = set()
    while found := _option_at(said, options):
        letter, end = found
        letters.add(letter)
        another = joint.match(said[end:])
        if another is None:
            break
        said = said[end + another.end() :]
    return letters


def _option_at(said: str, options: Mapping[str, str]) -> tuple[str, int] | None:
    """The option whose letter or text `said` begins with, and where that ends.

    The longest text wins; a text of one character counts for less than a letter, and one of two options for nothing.
    """
    text = re.sub(r"\A[\s*_\"'“$(]+", "", said)
    lengths = {letter: len(option) for letter, option in options.items() if len(option) > 1 and _begins(text, option)}
    longest = [letter for letter, length in lengths.items() if length == max(lengths.values())]
    if len(longest) == 1:
        return longest[0], len(said) - len(text) + lengths[longest[0]]
    match = _LETTER.match(said)
    if match and (not options or match[1] in options) and not _is_word(match):
        return match[1], match.end()
    return None


def _begins(said: str, text: str) -> bool:
    """Whether `said` begins with `text`, whatever its case, as whole words and numbers."""
    end = len(text)
    return said[:end].casefold() == text.casefold() and not re.match(r"[.,]?\w", said[end : end + 2])


def _is_word(match: re.Match[str]) -> bool:
    """Whether the letter is the article "A" or the pronoun "I": bare, and a word in lower case follows."""
    following = re.match(
        r" +(?!and\b|or\b|as\b|because\b|since\b|which\b|with\b|for\b|is\b)[a-z]", match.string[match.end() :]
    )
    return match[1] in "AI" and match[0].endswith(match[1]) and following is not None


def _unannounced(response: str, options: Mapping[str, str]) -> str | None:
    """The option that is the whole response, or that its last sentence alone names."""
    text = response.strip()
    bare = re.fullmatch(rf"{_BEFORE}([A-Z]){_AFTER}[.):]?{_AFTER}", text)
    whole = bare[1] if bare else _option_with_text(text, options)
    if whole is not None:
        return whole if not options or whole in options else None
    last = text[-_LINE:].rsplit("\n", 1)[-1]
    letters = {
        letter
        for letter, option in options.items()
        if re.search(rf"\({letter}\)|(?<!\w)\(?{letter}[.):]\)?\s+{re.escape(option.rstrip('.'))}", last)
    }
    return letters.pop() if len(letters) == 1 else None
