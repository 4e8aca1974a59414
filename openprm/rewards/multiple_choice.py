r"""Outcome rewards of multiple-choice questions: 1 where a response states the golden option, else 0.

    question: "What do plants do with light?\nA. respiration\nB. photosynthesis"
    "... so the answer is (B)."  "The answer is photosynthesis."  ->  B

The options are the lines `A. ...`, `(A) ...` or `a) ...` of the last user message, from A on. An answer is an option's
letter or its text, announced in English or a few other languages; a small letter counts in brackets only. Pure Python.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

from ..errors import Failure
from ..schema import Candidate, Message
from .base import RuleRewarder, reference_of
from .exact_answer import ANSWER_IS, normalize, own_statements, unix_lines

_OPTION = re.compile(r"^[ \t]*[(\[]?([A-Za-z])[.)\]:](?:[ \t]+(.*?))?[ \t]*$", re.MULTILINE)
_HALF_WIDTH = {code + 0xFEE0: code for code in range(ord("!"), ord("~") + 1)}  # of CJK's wide letters and marks

# What may stand around a letter: brackets, emphasis, `\boxed{\text{...}}`.
_BEFORE = r"(?:\\(?:boxed|text|textbf|mathbf|mathrm)\s*\{|\\[(\[]|[($\[*_\s\"'“])*+"
_AFTER = r"(?:\\[)\]]|[)}$\]*_\"'”])*+"
_ONE = (
    rf"{_BEFORE}(?:(?i:options?|choices?|letter|la)\s+)?{_BEFORE}([A-Z]|[a-z](?=[)\]}}]))(?![0-9A-Za-zÀ-ɏ_'’]){_AFTER}"
)
_LETTER = re.compile(_ONE)
_ALSO = re.compile(r"\s*(?:,|/|&|(?:,\s*)?\b(?:and|or)\b)\s*(?:both\s+)?")
# Below "The answers are:", one option a line.
_NEXT_LINE = re.compile(rf"{_ALSO.pattern}|[^\n]*\n[ \t]*(?=[(\[]?[A-Z][.)\]:]\s)")

# Where an answer is stated, up to what is stated, by alternatives:
# 1. "the answer is", "Answer:", as in `exact_answer`, and the same in other languages;
# 2. "the answer that fits best is", "the correct option is": words without punctuation between;
# 3. "correct option:", "I choose";
# 4. "Therefore D.": a sentence of its own, where the letter ends the line;
# 5. a tag, or a box.
_IS = r"(?:is|(?:would|must|should) be|ist|lautet|es|est|è|é)\b"
_NOUN = "antwort|respuesta|réponse|risposta|resposta|ответ"
_CHOICE = r"(?:correct|right|best|my|final)\s+(?:option|choice|statement)"
_STATES = re.compile(
    rf"{ANSWER_IS}"
    rf"|(?i:\b(?:{_NOUN})[\s*_]*(?:{_IS}|:))[ \t*_:]*(?!\s)"
    r"|(?:答案|答え|답|回答|答)(?:(?:是|は|은|为)[:]?|[\s*_]*:)[ \t*_]*(?!\s)"
    rf"|(?i:\b(?:answer|{_NOUN}|{_CHOICE})(?:[ \t]+[\w'’]+){{0,8}}?[ \t]+{_IS})[\s*_:]*"
    rf"|(?i:\b(?:{_CHOICE}[\s*_]*:|I(?:[ \t]+would|'d)?[ \t]+(?:choose|pick|select|go[ \t]+with)\b))[\s*_]*"
    rf"|\b(?:Therefore|Thus|Hence|So)\b[,:]?[ \t]+(?:it[ \t]+is[ \t]+)?(?={_ONE}[.!]?[ \t]*$)"
    r"|<answer>\s*|(?=\\boxed\s*\{)",
    re.MULTILINE,
)
# "(B) is correct", with the letter's brackets or "option" before it.
_IS_CORRECT = re.compile(
    r"(?:\b(?i:option|choice)\s+[(*]*([A-Z]|(?<=\()[a-z])[)*]*|[(*]{1,3}([A-Z]|(?<=\()[a-z](?=\)))[)*]{1,3})"
    r"\s+is\s+(?:the\s+)?(?:most\s+)?(?:correct|right|best)\b"
)
# Behind a number or a variable: it goes on.
_GOES_ON = re.compile(r"\s*(?:[+^=×÷·<>%]|[-−*/]?\s*[0-9])")
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
    """The options of a question, capital letter to text: its last run of lines that count on from A, else from a.

    Empty without any.
    """
    lines = _OPTION.findall(unix_lines(question))
    for first in "Aa":
        options: dict[str, str] = {}
        for letter, text in lines:
            if letter == first:
                options = {}
            if ord(letter) == ord(first) + len(options):
                options[letter.upper()] = text
        if options:
            return options
    return {}


def options_of(question: Sequence[Message]) -> Mapping[str, str]:
    """The options that the last user message shows."""
    asked = [turn["content"] for turn in question if turn["role"] == "user"]
    return read_options(asked[-1]) if asked else {}


def golden_option(reference: str, options: Mapping[str, str]) -> str | None:
    """The letter that `reference` means; None where it means none, or several options with one text.

    A single capital letter is itself where the question shows no options; a small one, where it is no option's text.
    """
    letter = normalize(reference)
    if letter in options or (not options and re.fullmatch("[A-Z]", letter)):
        return letter
    return _option_with_text(reference, options) or _letter(letter, options)


def _letter(letter: str, options: Mapping[str, str]) -> str | None:
    """The option with this letter; None where it is none, or small and also the text of one."""
    known = letter.upper() in options if options else letter.isupper()
    return letter.upper() if known and (letter.isupper() or letter not in options.values()) else None


def _option_with_text(text: str, options: Mapping[str, str]) -> str | None:
    """The one option with this text, whatever its case, outer marks and final period."""
    same = [letter for letter, option in options.items() if normalize(option).casefold() == normalize(text).casefold()]
    return same[0] if len(same) == 1 else None


def stated_option(response: str, options: Mapping[str, str]) -> str | None:
    """The letter of the option that `response` states last; None where it states none, or several at once.

    A statement that names no option ("the answer is not among them") is passed over. Where no sentence states an
    answer, the whole response or its last sentence may, by a letter in brackets or a letter with its option's text.
    """
    response = unix_lines(response).translate(_HALF_WIDTH)
    matches = sorted([*_STATES.finditer(response), *_IS_CORRECT.finditer(response)], key=re.Match.start)
    named = {match: letters for match in matches if (letters := _named(match, options))}
    if not named:
        return _unannounced(response, options)
    letters = named[own_statements(list(named))[-1]]
    return letters.pop() if len(letters) == 1 else None


def _named(match: re.Match[str], options: Mapping[str, str]) -> set[str]:
    """The options that one statement names."""
    if match.re is _IS_CORRECT:
        letter = _letter(match[1] or match[2], options)
        return {letter} if letter else set()
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

    The longest text wins; a text that is itself a letter counts for nothing, and so does one of two options.
    """
    text = re.sub(r"\A[\s*_\"'“$(]+", "", said)
    lengths = {letter: len(option) for letter, option in options.items() if _begins(text, option, options)}
    longest = [letter for letter, length in lengths.items() if length == max(lengths.values())]
    if len(longest) == 1:
        return longest[0], len(said) - len(text) + lengths[longest[0]]
    match = _LETTER.match(said)
    letter = _letter(match[1], options) if match and not _is_word(match) else None
    return (letter, match.end()) if match and letter else None


def _begins(said: str, text: str, options: Mapping[str, str]) -> bool:
    """Whether `said` begins with an option's text, whatever its case, as whole words, numbers and calculations."""
    end = len(text)
    if not text or text.upper() in options or said[:end].casefold() != text.casefold():
        return False
    goes_on = re.match(r"[.,]?\w", said[end : end + 2]) or (
        not re.search(r"[^\W\d_]{2}", text) and _GOES_ON.match(said, end)
    )
    return not goes_on


def _is_word(match: re.Match[str]) -> bool:
    """Whether the letter is the article "A" or the pronoun "I": bare, and a word in lower case follows."""
    following = re.match(
        r" +(?!and\b|or\b|as\b|because\b|since\b|which\b|with\b|for\b|is\b)[a-z]", match.string[match.end() :]
    )
    return match[1] in "AI" and match[0].endswith(match[1]) and following is not None


def _unannounced(response: str, options: Mapping[str, str]) -> str | None:
    """The option that is the whole response, or that its last sentence alone names."""
    text = response.strip()
    bare = re.fullmatch(rf"{_ONE}[.:]?{_AFTER}", text)
    whole = _option_with_text(text, options) or (_letter(bare[1], options) if bare else None)
    if bare or whole:
        return whole
    last = text[-_LINE:].rsplit("\n", 1)[-1]
    letters = {
        letter
        for letter, option in options.items()
        if re.search(rf"\({letter}\)|(?<!\w)\(?{letter}[.):]\)?\s+{re.escape(option.rstrip('.'))}", last)
    }
    return letters.pop() if len(letters) == 1 else None
